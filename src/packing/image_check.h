// The check of one picture before it may enter a shard: it is read, hashed and decoded.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "config/packing.pb.h"
#include "data/colour.h"
#include "shards/survey.pb.h"

namespace cskd::packing {

// Bytes that the threads of a process may use for decoded pictures together, so that a few huge ones do not add up.
class DecodingMemory {
 public:
  explicit DecodingMemory(std::uint64_t limit) : limit_(limit), free_(limit) {}

  // Waits until `bytes` (or the whole limit, if that is less) are free, and holds them as long as it lives.
  class Share {
   public:
    Share(DecodingMemory& memory, std::uint64_t bytes);
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

   private:
    DecodingMemory& memory_;
    std::uint64_t bytes_;
  };

 private:
  const std::uint64_t limit_;
  std::uint64_t free_;
  std::mutex mutex_;
  std::condition_variable freed_;
};

// packing.alpha where transparency is dropped.
inline constexpr const char* kDropAlpha = "drop";

// The colour that packing.alpha names, nothing where transparency is dropped. Throws UsageError for anything else.
std::optional<data::Colour> alpha_colour(const config::Packing& packing);

// Fills in what `picture`, as its source lists it, lacks. Never throws for a bad picture or an unreadable file: that is
// its fault, as it is when all of its pixels have one colour. Returns the bytes that are stored where they are others
// than those that came: made smaller as packing.max_side asks for, laid over a colour as packing.alpha does; nothing
// otherwise.
std::vector<std::byte> check_picture(const config::Packing& packing, shards::SurveyChunk::Picture& picture,
                                     DecodingMemory& memory);

// The bytes of a picture as it came. Throws Error or DataError.
std::vector<std::byte> read_picture(const shards::SurveyChunk::Picture& picture);

// The bytes of a picture that is stored otherwise than it came, as check_picture() returned them. Throws as
// read_picture(), and DataError when the picture does not decode any more.
std::vector<std::byte> stored_bytes(const config::Packing& packing, const shards::SurveyChunk::Picture& picture);

}  // namespace cskd::packing
