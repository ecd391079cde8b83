// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace cskd::report {

std::string with_commas(std::int64_t number);  // 1,204

// Rounded up to the second: 42 s, 3 min 05 s, 13 h 53 min, 4 d 07 h.
std::string duration_text(double seconds);

}  // namespace cskd::report
