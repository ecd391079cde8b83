#include "compiled/step_memory.h"

#include <algorithm>
#include <new>
#include <numeric>
#include <utility>

namespace cskd::compiled {
namespace {

constexpr std::size_t kAlignment = 64;
// XNNPACK reads beyond the end of what it is given (XNN_EXTRA_BYTES of xnnpack.h, rounded up).
constexpr std::size_t kExtra = 128;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

void StepMemory::Deleter::operator()(std::byte* block) const { operator delete(block, std::align_val_t(kAlignment)); }

void StepMemory::reserve(std::size_t images) {
  // The largest first, each at the lowest place that nothing else has while it is needed.
  std::vector<std::size_t> order(maps_.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::ranges::greater(), [&](std::size_t map) { return maps_[map].numbers; });
  offsets_.assign(maps_.size(), 0);
  std::size_t end = 0;
  std::vector<std::size_t> placed;
  const auto size = [&](std::size_t map) { return aligned(images * maps_[map].numbers * sizeof(float) + kExtra); };
  for (const std::size_t map : order) {
    std::vector<std::pair<std::size_t, std::size_t>> taken;  // from, to
    for (const std::size_t other : placed) {
      if (maps_[other].first <= maps_[map].last && maps_[map].first <= maps_[other].last)
        taken.emplace_back(offsets_[other], offsets_[other] + size(other));
    }
    std::ranges::sort(taken);
    std::size_t place = 0;
    for (const auto& [from, to] : taken) {
      if (place + size(map) <= from) break;
      place = std::max(place, to);
    }
    offsets_[map] = place;
    end = std::max(end, place + size(map));
    placed.push_back(map);
  }
  if (end <= bytes_) return;
  block_.reset();
  block_.reset(static_cast<std::byte*>(operator new(end, std::align_val_t(kAlignment))));
  bytes_ = end;
}

}  // namespace cskd::compiled
