#include "doctor/tournament.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace cskd::doctor {

std::vector<Round> tournament(int players, int most) {
  if (players < 2) return {};
  const int even = players + players % 2;
  const int all = even - 1;
  const int count = std::min(all, most);
  std::vector<Round> rounds;
  for (int k = 0; k < count; ++k) {
    const auto round = static_cast<int>(std::int64_t{k} * all / count);
    Round partners(static_cast<std::size_t>(players), -1);
    // Those whose numbers add up to the round's (modulo all) meet; the one who would meet himself, the last one.
    for (int player = 0; player < all; ++player) {
      int other = (round - player + all) % all;
      if (other == player) other = even - 1;
      if (player < players && other < players) {
        partners[static_cast<std::size_t>(player)] = other;
        partners[static_cast<std::size_t>(other)] = player;
      }
    }
    rounds.push_back(std::move(partners));
  }
  return rounds;
}

}  // namespace cskd::doctor
