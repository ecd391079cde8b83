// Rendered views, kept in memory for the next time that a training shows them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>

#include "data/corpus.h"

namespace cskd::data {

// Keeps what comes first, and nothing more when it is full: an epoch shows every picture once, so that what is kept is
// found again, while the view that was shown longest ago is always the next one to be needed. Any thread.
class ViewStore {
 public:
  // Views of `side` x `side` pixels, RGB, in at most `capacity` bytes.
  ViewStore(std::uint64_t capacity, int side);

  // Copies view `number` of a sample to `target` [side, side, 3]; false when it is not kept.
  bool find(const SampleRef& sample, std::uint64_t number, std::span<std::uint8_t> target) const;

  // Keeps it, unless the store is full.
  void keep(const SampleRef& sample, std::uint64_t number, std::span<const std::uint8_t> pixels);

  std::uint64_t kept() const;  // views

 private:
  struct Key {
    std::uint64_t sample;
    std::uint64_t number;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  struct Part {
    mutable std::mutex mutex;
    std::unordered_map<Key, std::unique_ptr<std::uint8_t[]>, Hash> views;
  };
  static constexpr std::size_t kParts = 16;  // threads seldom meet in one
  static Key key_of(const SampleRef& sample, std::uint64_t number);

  const std::size_t bytes_;  // of a view
  const std::uint64_t most_;  // views of a part
  std::array<Part, kParts> parts_;
};

}  // namespace cskd::data
