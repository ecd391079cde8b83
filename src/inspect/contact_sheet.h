// Some pictures of each part of a corpus side by side, as one PNG.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "shards/image_shard/check.h"
#include "shards/manifest.pb.h"
#include "shards/sample.h"

namespace cskd::inspect {

constexpr int kSheetColumns = 10;
constexpr std::size_t kMostSheetRows = 40;
constexpr int kSheetCell = 144;  // pixels, both ways
constexpr int kSheetGap = 6;     // between cells and around them

struct ContactSheet {
  // The pictures of one source and one split, left to right.
  struct Row {
    std::uint32_t source = 0;  // position in the manifest
    shards::Split split = shards::Split::kUnlabelled;
    std::vector<std::string> keys;  // "" where a picture could not be shown
  };

  int width = 0;
  int height = 0;
  std::vector<Row> rows;     // from the top, by source, then split
  std::size_t left_out = 0;  // parts of the corpus for which there was no row
  std::vector<shards::ShardFault> faults;
};

// Writes `target`, atomically: a row for each source and split with up to kSheetColumns pictures at even distances in
// its shards, withdrawn ones left out. A picture is shown whole, made smaller where it does not fit its cell. One whose
// bytes are not those that were packed is not decoded: its cell stays empty, and `faults` says why. `folder` holds the
// shards of the (checked) manifest. Throws DataError when there is no picture at all, Error when `target` cannot be
// written.
ContactSheet write_contact_sheet(const std::filesystem::path& target, const std::filesystem::path& folder,
                                 const shards::Manifest& manifest);

}  // namespace cskd::inspect
