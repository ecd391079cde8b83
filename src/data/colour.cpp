#include "data/colour.h"

#include <charconv>

namespace cskd::data {

std::optional<Colour> parse_colour(std::string_view text) {
  if (text.size() != 7 || text.front() != '#') return std::nullopt;
  Colour colour{};
  for (std::size_t i = 0; i < colour.size(); ++i) {
    const char* digits = text.data() + 1 + 2 * i;
    const auto [end, status] = std::from_chars(digits, digits + 2, colour[i], 16);
    if (status != std::errc() || end != digits + 2) return std::nullopt;
  }
  return colour;
}

}  // namespace cskd::data
