#include "runtime/host.h"

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <unistd.h>

#include "runtime/error.h"

namespace cskd::runtime {

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) throw_system_error("cannot get the host name", errno);
  return name.data();
}

std::string process_namespace() {
  std::error_code failure;
  const std::filesystem::path target = std::filesystem::read_symlink("/proc/self/ns/pid", failure);
  return failure ? "" : target.native();
}

}  // namespace cskd::runtime
