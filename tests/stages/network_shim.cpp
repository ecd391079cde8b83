// Makes a folder look like a network file system to a program that is started with this library in LD_PRELOAD.
//
//   SHIM_FOLDER    below it all of the following holds
//   SHIM_DELAY_MS  what other processes make is seen so many milliseconds later: files by their last change, folders by
//                  their birth. The folder is then also of the kind "nfs"
//   SHIM_KEEP      removing what has this in its path fails, as if NFS had kept a file of the folder
//   SHIM_NO_FLOCK  flock is not there (ENOSYS)
//   SHIM_HANG      whoever opens or looks at this path waits for ever, as on a mount whose server is gone
//   SHIM_LOG       a file that gets a letter for each call that was answered falsely: d(elayed), k(ept), f(lock)
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <set>
#include <string>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace {

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

const char* setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

bool is_inside(const char* path) {
  const char* const folder = setting("SHIM_FOLDER");
  if (folder == nullptr || path == nullptr) return false;
  const std::size_t length = std::strlen(folder);
  return std::strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

void note(char letter) {
  const char* const log = setting("SHIM_LOG");
  if (log == nullptr) return;
  static const auto real_open = next<int(const char*, int, ...)>("open");
  const int file = real_open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (file < 0) return;
  if (::write(file, &letter, 1) < 0) std::abort();
  ::close(file);
}

std::mutex mutex;
std::set<std::string>& own() {
  static auto& names = *new std::set<std::string>();
  return names;
}

void made(const char* path) {
  if (!is_inside(path)) return;
  const std::lock_guard lock(mutex);
  own().insert(path);
}

// Whether it is there, but not seen yet.
bool is_hidden(const char* path) {
  const char* const hanging = setting("SHIM_HANG");
  while (hanging != nullptr && std::strcmp(path, hanging) == 0) ::pause();
  const char* const delay = setting("SHIM_DELAY_MS");
  if (delay == nullptr || !is_inside(path)) return false;
  {
    const std::lock_guard lock(mutex);
    if (own().count(path) > 0) return false;
  }
  struct statx found {};
  if (::statx(AT_FDCWD, path, AT_STATX_SYNC_AS_STAT, STATX_BASIC_STATS | STATX_BTIME, &found) != 0) return false;
  const statx_timestamp& since = S_ISDIR(found.stx_mode) ? found.stx_btime : found.stx_ctime;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const double age =
      static_cast<double>(now.tv_sec - since.tv_sec) + 1e-9 * (static_cast<double>(now.tv_nsec) - since.tv_nsec);
  if (age * 1000 >= std::atof(delay)) return false;
  note('d');
  return true;
}

bool is_kept(const char* path) {
  const char* const part = setting("SHIM_KEEP");
  if (part == nullptr || !is_inside(path) || std::strstr(path, part) == nullptr) return false;
  note('k');
  return true;
}

std::string path_of(int folder, const char* path) {
  if (path[0] == '/' || folder == AT_FDCWD) return path;
  char name[4096];
  const ssize_t size = ::readlink(("/proc/self/fd/" + std::to_string(folder)).c_str(), name, sizeof(name));
  return size < 0 ? path : std::string(name, static_cast<std::size_t>(size)) + "/" + path;
}

}  // namespace

#define SHIM_OPEN(NAME)                                                      \
  int NAME(const char* path, int flags, ...) {                               \
    va_list arguments;                                                       \
    va_start(arguments, flags);                                              \
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, int) : 0; \
    va_end(arguments);                                                       \
    if ((flags & O_CREAT) == 0 && is_hidden(path)) {                         \
      errno = ENOENT;                                                        \
      return -1;                                                             \
    }                                                                        \
    static const auto real = next<int(const char*, int, ...)>(#NAME);        \
    const int file = real(path, flags, mode);                                \
    if (file >= 0 && (flags & O_CREAT) != 0) made(path);                     \
    return file;                                                             \
  }

#define SHIM_STAT(NAME, TYPE)                                      \
  int NAME(const char* path, TYPE* status) {                       \
    if (is_hidden(path)) {                                         \
      errno = ENOENT;                                              \
      return -1;                                                   \
    }                                                              \
    static const auto real = next<int(const char*, TYPE*)>(#NAME); \
    return real(path, status);                                     \
  }

extern "C" {

SHIM_OPEN(open)
SHIM_OPEN(open64)
SHIM_STAT(stat, struct stat)
SHIM_STAT(stat64, struct stat64)

int statfs(const char* path, struct statfs* status) {
  static const auto real = next<int(const char*, struct statfs*)>("statfs");
  const int result = real(path, status);
  if (result == 0 && is_inside(path) && setting("SHIM_DELAY_MS") != nullptr) status->f_type = 0x6969;
  return result;
}

int mkdir(const char* path, mode_t mode) {
  static const auto real = next<int(const char*, mode_t)>("mkdir");
  const int result = real(path, mode);
  if (result == 0) made(path);
  return result;
}

int rename(const char* from, const char* to) {
  static const auto real = next<int(const char*, const char*)>("rename");
  const int result = real(from, to);
  if (result == 0) made(to);
  return result;
}

int link(const char* from, const char* to) {
  static const auto real = next<int(const char*, const char*)>("link");
  const int result = real(from, to);
  if (result == 0) made(to);
  return result;
}

int unlink(const char* path) {
  if (is_kept(path)) {
    errno = EBUSY;
    return -1;
  }
  static const auto real = next<int(const char*)>("unlink");
  return real(path);
}

int remove(const char* path) {
  if (is_kept(path)) {
    errno = EBUSY;
    return -1;
  }
  static const auto real = next<int(const char*)>("remove");
  return real(path);
}

int unlinkat(int folder, const char* path, int flags) {
  if (is_kept(path_of(folder, path).c_str())) {
    errno = (flags & AT_REMOVEDIR) != 0 ? ENOTEMPTY : EBUSY;
    return -1;
  }
  static const auto real = next<int(int, const char*, int)>("unlinkat");
  return real(folder, path, flags);
}

#pragma GCC diagnostic ignored "-Wshadow"  // of the structure of that name
int flock(int file, int operation) {
  if (setting("SHIM_NO_FLOCK") != nullptr) {
    note('f');
    errno = ENOSYS;
    return -1;
  }
  static const auto real = next<int(int, int)>("flock");
  return real(file, operation);
}

}  // extern "C"
