#include "runtime/csv_field.h"

namespace cskd::runtime {

std::string csv_field(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + "\"";
}

}  // namespace cskd::runtime
