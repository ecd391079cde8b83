// Colours that transparent pictures are laid over.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cskd::data {

using Colour = std::array<std::uint8_t, 3>;  // red, green, blue

// "#rrggbb"; nothing for anything else.
std::optional<Colour> parse_colour(std::string_view text);

}  // namespace cskd::data
