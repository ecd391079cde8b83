#include "data/view_store.h"

#include <algorithm>

#include "runtime/check.h"

namespace cskd::data {
namespace {

constexpr std::uint64_t kOverhead = 64;  // bytes, of a view's entry

}  // namespace

ViewStore::ViewStore(std::uint64_t capacity, int side)
    : bytes_(std::size_t{3} * static_cast<std::size_t>(side) * static_cast<std::size_t>(side)),
      most_(capacity / kParts / (bytes_ + kOverhead)) {}

ViewStore::Key ViewStore::key_of(const SampleRef& sample, std::uint64_t number) {
  return {std::uint64_t{sample.shard} << 32 | sample.row, number};
}

std::size_t ViewStore::Hash::operator()(const Key& key) const noexcept {
  // SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014): its low bits choose the part.
  std::uint64_t x = key.sample * 0x9E3779B97F4A7C15 + key.number;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

bool ViewStore::find(const SampleRef& sample, std::uint64_t number, std::span<std::uint8_t> target) const {
  CSKD_CHECK(target.size() == bytes_, "{} bytes for a view of {}", target.size(), bytes_);
  const Key key = key_of(sample, number);
  const Part& part = parts_[Hash{}(key) % kParts];
  const std::uint8_t* kept = nullptr;
  {
    const std::lock_guard lock(part.mutex);
    const auto found = part.views.find(key);
    if (found == part.views.end()) return false;
    kept = found->second.get();  // nothing that is kept goes or moves
  }
  std::copy_n(kept, bytes_, target.begin());
  return true;
}

void ViewStore::keep(const SampleRef& sample, std::uint64_t number, std::span<const std::uint8_t> pixels) {
  CSKD_CHECK(pixels.size() == bytes_, "{} bytes for a view of {}", pixels.size(), bytes_);
  const Key key = key_of(sample, number);
  Part& part = parts_[Hash{}(key) % kParts];
  const std::lock_guard lock(part.mutex);
  if (part.views.size() >= most_) return;
  const auto [place, is_new] = part.views.try_emplace(key);
  if (!is_new) return;
  place->second = std::make_unique_for_overwrite<std::uint8_t[]>(bytes_);
  std::copy(pixels.begin(), pixels.end(), place->second.get());
}

std::uint64_t ViewStore::kept() const {
  std::uint64_t views = 0;
  for (const Part& part : parts_) {
    const std::lock_guard lock(part.mutex);
    views += part.views.size();
  }
  return views;
}

}  // namespace cskd::data
