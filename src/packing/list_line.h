// A line of the lists of what packing left out.
#pragma once

#include <string>
#include <string_view>

namespace cskd::packing {

// A JSON object with "source", "key", "what" and "reason". A key that is not UTF-8, which JSON cannot hold, has its
// wrong bytes replaced, and stands whole in "key_hex" (hexadecimal bytes).
std::string list_line(std::string_view source, std::string_view key, std::string_view what, std::string_view reason);

}  // namespace cskd::packing
