// "Did you mean ...?"
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cskd::runtime {

// Insertions, deletions, substitutions and swaps of neighbours that turn one text into the other (optimal string
// alignment).
size_t edit_distance(std::string_view a, std::string_view b);

// The candidate with the least edit distance to `word`, the first of several; empty when none is near: further than a
// third of the longer text's length, and at least 1 is always allowed.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace cskd::runtime
