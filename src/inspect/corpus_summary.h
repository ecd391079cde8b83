// The contents of a corpus in figures: from the small datasets of its shards, without HDF5 and without decoding a
// picture.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "shards/image_shard/check.h"
#include "shards/manifest.pb.h"
#include "shards/sample.h"

namespace cskd::inspect {

using shards::Manifest;
using shards::ShardFault;
using shards::Split;

// Widths or heights after orientation, pixels. Of an even number of pictures the median is the lower middle one.
struct SideRange {
  std::uint16_t min = 0;
  std::uint16_t median = 0;
  std::uint16_t max = 0;

  bool operator==(const SideRange&) const = default;
};

// Mean scores in bins of equal width over [low, high], score units.
struct ScoreHistogram {
  double low = 0;
  double high = 0;
  std::array<std::uint64_t, 10> counts{};
};

// The pictures of one source and one split. Every figure leaves out withdrawn rows.
struct GroupSummary {
  std::uint32_t source = 0;  // position in the manifest
  Split split = Split::kUnlabelled;
  std::uint64_t shards = 0;
  std::uint64_t samples = 0;
  std::uint64_t withdrawn = 0;
  std::uint64_t bytes = 0;                      // of the encoded pictures
  std::array<std::uint64_t, 4> formats{};       // by the stored number, 1 JPEG, 2 PNG, 3 WebP; [0] any other
  std::array<std::uint64_t, 9> orientations{};  // by EXIF orientation 1..8; [0] any other
  SideRange width, height;
  std::uint32_t bins = 0;  // of the labels, 0 without
  std::optional<double> mean_score;
  ScoreHistogram scores;  // over the range of the bin centres; of the scores where those are not known
};

struct CorpusSummary {
  std::uint64_t shards = 0;  // that could be read; so for all other figures
  std::uint64_t samples = 0;
  std::uint64_t withdrawn = 0;
  std::uint64_t bytes = 0;
  std::uint64_t file_bytes = 0;
  std::vector<GroupSummary> groups;  // by source, then split
  std::vector<ShardFault> faults;    // shards that could not be read, and what made no sense
};

// Summarises the shards of a (checked) manifest, which lie in `folder`. A shard that is missing, cut off or damaged in
// its small datasets is listed in `faults` and left out. Memory grows with sources, not with samples.
CorpusSummary summarise(const std::filesystem::path& folder, const Manifest& manifest);

// Tables and histograms, at most 100 columns wide; what a manifest alone tells (sources, settings) is left out for that
// of lone_manifest().
std::string to_text(const CorpusSummary& summary, const Manifest& manifest);

// Names and keys come from outside: nothing in them may steer the terminal. Of more than `longest` bytes the last ones
// are kept.
std::string printable(const std::string& text, std::size_t longest);

}  // namespace cskd::inspect
