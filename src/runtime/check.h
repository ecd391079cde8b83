// CSKD_CHECK(condition, "format", args...): for our own bugs, in every build type. Throws CheckFailure with file and
// line.
#pragma once

#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace cskd::runtime {

// A broken invariant of cskd itself; never thrown for bad input or a bad environment.
class CheckFailure : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void fail_check(const char* file, int line, const char* condition, const std::string& detail);

}  // namespace cskd::runtime

#define CSKD_CHECK(condition, ...)                                                             \
  do {                                                                                         \
    if (!(condition)) [[unlikely]]                                                             \
      ::cskd::runtime::fail_check(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__)); \
  } while (false)
