#include "runtime/counted.h"

#include <fmt/format.h>

namespace cskd::runtime {

std::string counted(std::uint64_t number, const char* noun) {
  return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s");
}

}  // namespace cskd::runtime
