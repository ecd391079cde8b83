#include "runtime/free_space.h"

#include <array>
#include <cerrno>

#include <fmt/format.h>
#include <sys/statvfs.h>

#include "runtime/error.h"

namespace cskd::runtime {

std::uint64_t free_space(const std::filesystem::path& path) {
  std::filesystem::path probe = std::filesystem::absolute(path);
  struct statvfs stat {};
  while (::statvfs(probe.c_str(), &stat) != 0) {
    if ((errno != ENOENT && errno != ENOTDIR) || probe == probe.root_path()) {
      throw_system_error(fmt::format("cannot read the free space of {}", probe.native()), errno);
    }
    probe = probe.parent_path();
  }
  return std::uint64_t{stat.f_bavail} * stat.f_frsize;
}

void require_free_space(const std::filesystem::path& path, std::uint64_t bytes, std::string_view what) {
  const std::uint64_t available = free_space(path);
  if (available >= bytes) return;
  throw Error(fmt::format(
      "no room for {}: {} needed at {}, but only {} are free there; free some space or choose another folder", what,
      format_bytes(bytes), path.native(), format_bytes(available)));
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 7> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace cskd::runtime
