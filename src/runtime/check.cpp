#include "runtime/check.h"

namespace cskd::runtime {

void fail_check(const char* file, int line, const char* condition, const std::string& detail) {
  throw CheckFailure(fmt::format("bug in cskd at {}:{}: {} does not hold: {}", file, line, condition, detail));
}

}  // namespace cskd::runtime
