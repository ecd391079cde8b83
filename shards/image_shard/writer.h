// The writer of an image shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/content_hash.h"
#include "shards/manifest.pb.h"
#include "shards/sample.h"

namespace cskd::shards {

// What is known of a sample before its bytes are copied.
struct ShardRow {
  std::string key;
  std::uint64_t size = 0;           // of the encoded picture, bytes
  runtime::ContentHash hash;        // of the encoded picture
  runtime::ContentHash pixel_hash;  // of the decoded picture as it came
  std::uint64_t phash = 0;
  Thumbnail thumbnail{};
  std::uint16_t width = 0;  // after orientation
  std::uint16_t height = 0;
  std::uint8_t format = 0;       // 1 JPEG, 2 PNG, 3 WebP
  std::uint8_t orientation = 1;  // EXIF
  Label label;                   // empty histogram: none
};

// What all samples of a shard have in common.
struct ShardPlan {
  std::string file;  // name in the folder
  std::uint32_t source = 0;
  Split split = Split::kUnlabelled;
  std::uint32_t bins = 0;  // 0: no labels
  std::uint32_t generation = 0;
  std::string source_name;
  std::vector<ShardRow> rows;
};

// Digest of what the plan says; a shard that carries it need not be written again.
runtime::ContentHash plan_digest(const ShardPlan& plan);

// Writes `folder/plan.file`: to `.tmp`, reopened and compared sample by sample, then renamed (Note [Atomic files]).
// `read(i, target)` reads the rows[i].size encoded bytes of row i; they must hash to rows[i].hash (DataError: the
// source changed meanwhile). Throws Error when the disk is full.
using ReadPicture = std::function<void(std::size_t row, std::span<std::byte> target)>;
Manifest::Shard write_image_shard(const std::filesystem::path& folder, const ShardPlan& plan, const ReadPicture& read);

// The entry of an existing file, when it is there, whole (its bytes are read and hashed) and made to this plan; nothing
// otherwise.
std::optional<Manifest::Shard> find_image_shard(const std::filesystem::path& folder, const ShardPlan& plan);

}  // namespace cskd::shards
