// Rounds in which each of many meets one other.
#pragma once

#include <vector>

namespace cskd::doctor {

// The partner of each player in a round, none (-1) where their number is odd and one is left over.
using Round = std::vector<int>;

// Rounds of a round-robin tournament (circle method), at most `most` of them, spread evenly over all: with
// `most` >= players every pair meets once. Empty for fewer than two players.
std::vector<Round> tournament(int players, int most);

}  // namespace cskd::doctor
