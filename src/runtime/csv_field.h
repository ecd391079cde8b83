// Fields of tables that are separated by commas (RFC 4180).
#pragma once

#include <string>

namespace cskd::runtime {

// The text in quotes, with quotes in it doubled: it may hold anything.
std::string csv_field(const std::string& text);

}  // namespace cskd::runtime
