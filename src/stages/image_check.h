// Reads, hashes and decodes every picture once, before it may enter a shard.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/content_hash.h"
#include "runtime/world.h"
#include "shards/sample.h"

namespace cskd::stages {

// What was found out about one picture.
struct CheckedImage {
  runtime::ContentHash hash;  // of the encoded bytes
  std::uint64_t phash = 0;
  std::uint16_t width = 0;  // after orientation
  std::uint16_t height = 0;
  std::uint8_t format = 0;
  std::uint8_t orientation = 1;
  std::string fault;  // why it cannot be used; empty: it can
};

// Looks at one entry. Never throws for a bad picture or an unreadable file: that is a fault.
CheckedImage check_image(const shards::Entry& entry);

// The bytes of an entry. Throws Error or DataError.
std::vector<std::byte> read_entry(const shards::Entry& entry);

// All entries, shared out over ranks as they ask and over `threads` threads in each; every rank gets all results, in
// the order of `entries`. Collective; `entries` are the same on every rank. `progress(done, total)` is called now and
// then on rank 0.
std::vector<CheckedImage> check_images(const std::vector<const shards::Entry*>& entries, runtime::World& world,
                                       int threads, const std::function<void(std::int64_t, std::int64_t)>& progress);

}  // namespace cskd::stages
