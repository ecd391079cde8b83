#include "scoring/bursts.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "data/near_pairs.h"

namespace cskd::scoring {
namespace {

// Disjoint sets; the smallest member stands for each.
class Groups {
 public:
  explicit Groups(std::size_t count) : parents_(count) { std::iota(parents_.begin(), parents_.end(), 0U); }

  std::uint32_t of(std::uint32_t member) {
    while (parents_[member] != member) member = parents_[member] = parents_[parents_[member]];
    return member;
  }
  void join(std::uint32_t a, std::uint32_t b) {
    a = of(a);
    b = of(b);
    parents_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<std::uint32_t> parents_;
};

}  // namespace

double sharpness_of(const data::Image& image) {
  if (image.width < 3 || image.height < 3) return 0;
  std::vector<double> luma;
  luma.reserve(image.rgb.size() / 3);
  for (std::size_t i = 0; i < image.rgb.size(); i += 3)
    luma.push_back(0.299 * image.rgb[i] + 0.587 * image.rgb[i + 1] + 0.114 * image.rgb[i + 2]);
  const auto width = static_cast<std::size_t>(image.width);
  const auto height = static_cast<std::size_t>(image.height);
  double sum = 0;
  double squares = 0;
  for (std::size_t y = 1; y + 1 < height; ++y) {
    for (std::size_t x = 1; x + 1 < width; ++x) {
      const double* here = luma.data() + y * width + x;
      const double value = here[-1] + here[1] + *(here - width) + here[width] - 4 * here[0];
      sum += value;
      squares += value * value;
    }
  }
  const auto count = static_cast<double>((width - 2) * (height - 2));
  return std::max(0.0, squares / count - (sum / count) * (sum / count));
}

std::vector<BurstPlace> find_bursts(std::span<const Shot> shots, double scale, int threads) {
  Groups groups(shots.size());
  // Equal hashes are pairs, too: each hash once, and its photos compared by themselves.
  std::map<std::uint64_t, std::vector<std::uint32_t>> by_hash;
  for (std::uint32_t i = 0; i < shots.size(); ++i) by_hash[shots[i].appearance.hash].push_back(i);
  std::vector<std::uint64_t> hashes;
  hashes.reserve(by_hash.size());
  for (const auto& [hash, same] : by_hash) hashes.push_back(hash);
  const auto join_alike = [&](std::uint32_t a, std::uint32_t b) {
    if (data::are_alike(shots[a].appearance.thumbnail, shots[b].appearance.thumbnail, kBurstDifference))
      groups.join(a, b);
  };
  for (const auto& [hash, same] : by_hash) {
    for (std::size_t i = 0; i < same.size(); ++i) {
      for (std::size_t k = 0; k < i; ++k) join_alike(same[k], same[i]);
    }
  }
  data::find_near_pairs(hashes, {.distance = kBurstDistance, .threads = threads},
                        [&](std::uint32_t a, std::uint32_t b) {
                          for (const std::uint32_t first : by_hash[hashes[a]]) {
                            for (const std::uint32_t second : by_hash[hashes[b]]) join_alike(first, second);
                          }
                        });
  std::map<std::uint32_t, std::vector<std::uint32_t>> bursts;  // by the first photo, in the order of photos
  for (std::uint32_t i = 0; i < shots.size(); ++i) bursts[groups.of(i)].push_back(i);
  std::vector<BurstPlace> places(shots.size());
  std::uint32_t number = 0;
  for (const auto& [first, members] : bursts) {
    if (members.size() < 2) continue;
    ++number;
    double highest = shots[first].score;
    for (const std::uint32_t member : members) highest = std::max(highest, shots[member].score);
    std::uint32_t best = members.front();
    bool is_found = false;
    for (const std::uint32_t member : members) {
      if (shots[member].score < highest - kTie * scale) continue;
      if (!is_found || shots[member].sharpness > shots[best].sharpness) best = member;
      is_found = true;
    }
    for (const std::uint32_t member : members)
      places[member] = {.burst = number, .size = static_cast<std::uint32_t>(members.size()), .is_best = member == best};
  }
  return places;
}

}  // namespace cskd::scoring
