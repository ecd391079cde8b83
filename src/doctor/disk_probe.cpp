#include "doctor/disk_probe.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "doctor/file_system.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/free_space.h"
#include "runtime/host.h"

namespace cskd::doctor {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A file descriptor with its file, both gone when it goes.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {
    number_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (number_ < 0) runtime::throw_system_error(fmt::format("cannot create {}", path_), errno);
  }
  ~TemporaryFile() {
    ::close(number_);
    ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  int get() const { return number_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int number_ = -1;
};

std::string probe_name(const std::filesystem::path& folder, const char* what) {
  // Processes of two hosts may have the same number.
  return (folder / fmt::format(".cskd-doctor-{}-{}-{}", runtime::host_name(), ::getpid(), what)).native();
}

double commit_milliseconds(const std::filesystem::path& folder) {
  std::array<double, 5> samples{};
  const std::string path = probe_name(folder, "commit");
  const std::string contents(4096, 'c');
  for (double& sample : samples) {
    const Clock::time_point start = Clock::now();
    runtime::write_file_atomically(path, contents);
    sample = seconds_since(start) * 1e3;
    std::filesystem::remove(path);
  }
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

}  // namespace

std::filesystem::path existing_ancestor(const std::filesystem::path& run_folder) {
  std::filesystem::path folder = std::filesystem::absolute(run_folder).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // without the trailing slash of "."
  std::error_code ignored;
  while (!std::filesystem::exists(folder, ignored) && folder != folder.root_path()) folder = folder.parent_path();
  return folder;
}

FolderFacts look_at_folder(const std::filesystem::path& folder) {
  FolderFacts facts;
  facts.path = folder.native();
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(folder, error);
  if (!std::filesystem::is_directory(status)) {
    facts.problem = std::filesystem::exists(status) ? "is not a folder" : "is not there";
    return facts;
  }
  const Mount mount = mount_of(folder);
  facts.file_system = mount.type;
  facts.mounted_with = mount.options;
  struct statvfs space {};
  if (::statvfs(folder.c_str(), &space) == 0) {
    facts.free_bytes = std::uint64_t{space.f_bavail} * space.f_frsize;
    if (space.f_files > 0) facts.free_inodes = space.f_favail;
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    facts.problem = errno == EROFS ? "is on a read-only file system" : "may not be written by this user";
  }
  return facts;
}

DiskFacts measure_disk(const std::filesystem::path& folder, std::uint64_t bytes, std::chrono::milliseconds limit) {
  constexpr size_t kBlock = 1U << 20U;
  DiskFacts facts;
  bytes = std::min(bytes, runtime::free_space(folder) / 10) / kBlock * kBlock;
  const TemporaryFile file(probe_name(folder, "speed"));
  if (bytes > 0) {
    std::vector<char> block(kBlock);
    std::uint32_t state = 1;
    for (char& byte : block) {  // not compressible, so that a compressing file system does not look fast
      state = state * 1664525U + 1013904223U;
      byte = static_cast<char>(state >> 24U);
    }
    // As much as there is time for, at least a block.
    const Clock::time_point begun = Clock::now();
    const auto transfer = [&](const char* verb, std::uint64_t most, Clock::duration time, const auto& call) {
      std::uint64_t done = 0;
      const Clock::time_point start = Clock::now();
      while (done < most && (done == 0 || Clock::now() - start < time)) {
        if (call(file.get(), block.data(), kBlock, static_cast<off_t>(done)) != static_cast<ssize_t>(kBlock))
          runtime::throw_system_error(fmt::format("cannot {} {}", verb, file.path()), errno);
        done += kBlock;
      }
      return done;
    };
    const std::uint64_t written = transfer("write", bytes, limit / 2, ::pwrite);
    if (::fsync(file.get()) != 0) runtime::throw_system_error(fmt::format("cannot fsync {}", file.path()), errno);
    facts.write_mb_per_second = static_cast<double>(written) * 1e-6 / seconds_since(begun);

    ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    const Clock::time_point start = Clock::now();
    const std::uint64_t read = transfer("read", written, limit / 2, ::pread);
    facts.read_mb_per_second = static_cast<double>(read) * 1e-6 / seconds_since(start);
  }
  facts.commit_milliseconds = commit_milliseconds(folder);
  return facts;
}

}  // namespace cskd::doctor
