#include "doctor/disk_probe.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/free_space.h"
#include "runtime/host.h"

namespace cskd::doctor {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string file_system_name(const std::filesystem::path& path) {
  struct statfs stat {};
  if (::statfs(path.c_str(), &stat) != 0) return "unknown";
  // Magic numbers of statfs(2) and, for the parallel file systems, of their own headers.
  switch (static_cast<std::uint32_t>(stat.f_type)) {
    case 0xEF53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683E:
      return "btrfs";
    case 0x2FC12FC1:
      return "zfs";
    case 0x01021994:
      return "tmpfs";
    case 0x794C7630:
      return "overlay";
    case 0x6969:
      return "nfs";
    case 0x0BD00BD0:
      return "lustre";
    case 0x47504653:
      return "gpfs";
    case 0x19830326:
      return "beegfs";
    case 0x00C36400:
      return "ceph";
    case 0x65735546:
      return "fuse";
    default:
      return fmt::format("{:#x}", static_cast<std::uint32_t>(stat.f_type));
  }
}

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

FolderFacts look_at_folder(const std::filesystem::path& run_folder) {
  FolderFacts facts;
  std::filesystem::path folder = std::filesystem::absolute(run_folder).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // without the trailing slash of "."
  std::error_code ignored;
  while (!std::filesystem::exists(folder, ignored) && folder != folder.root_path()) folder = folder.parent_path();
  facts.path = folder.native();
  facts.file_system = file_system_name(folder);
  if (!std::filesystem::is_directory(folder, ignored)) {
    facts.problem = "is not a folder";
    return facts;
  }
  facts.free_bytes = runtime::free_space(folder);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    facts.problem = errno == EROFS ? "is on a read-only file system" : "may not be written by this user";
  }
  return facts;
}

DiskFacts measure_disk(const std::filesystem::path& folder, std::uint64_t bytes) {
  constexpr size_t kBlock = 4U << 20U;
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
    Clock::time_point start = Clock::now();
    for (std::uint64_t done = 0; done < bytes; done += kBlock) {
      if (::pwrite(file.get(), block.data(), kBlock, static_cast<off_t>(done)) != static_cast<ssize_t>(kBlock)) {
        runtime::throw_system_error(fmt::format("cannot write {}", file.path()), errno);
      }
    }
    if (::fsync(file.get()) != 0) runtime::throw_system_error(fmt::format("cannot fsync {}", file.path()), errno);
    facts.write_mb_per_second = static_cast<double>(bytes) * 1e-6 / seconds_since(start);

    ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    start = Clock::now();
    for (std::uint64_t done = 0; done < bytes; done += kBlock) {
      if (::pread(file.get(), block.data(), kBlock, static_cast<off_t>(done)) != static_cast<ssize_t>(kBlock)) {
        runtime::throw_system_error(fmt::format("cannot read {}", file.path()), errno);
      }
    }
    facts.read_mb_per_second = static_cast<double>(bytes) * 1e-6 / seconds_since(start);
  }
  facts.commit_milliseconds = commit_milliseconds(folder);
  return facts;
}

}  // namespace cskd::doctor
