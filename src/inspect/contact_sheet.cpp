#include "inspect/contact_sheet.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "data/decode.h"
#include "data/png_encoder.h"
#include "data/resize.h"
#include "runtime/atomic_file.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "shards/image_shard/format.h"
#include "shards/image_shard/reader.h"

namespace cskd::inspect {
namespace {

constexpr std::uint8_t kBackground = 96;  // grey

// Of the pictures of a shard together; a shard that promises more is not read into memory.
constexpr std::uint64_t kMostBytes = 2 * shards::kMostShardBytes;

// The whole picture, no larger than a cell; small ones as they are.
data::Image fit_into_cell(const data::Image& image) {
  const int longer = std::max(image.width, image.height);
  if (longer <= kSheetCell) return image;
  const auto scaled = [longer](int side) {
    return static_cast<int>(std::max<std::int64_t>(1, (std::int64_t{side} * kSheetCell + longer / 2) / longer));
  };
  return data::resize(image, {0, 0, image.width, image.height}, scaled(image.width), scaled(image.height),
                      data::Filter::kBilinear);
}

void paste(data::Image& sheet, const data::Image& picture, std::size_t row, std::size_t column) {
  const auto start = [](std::size_t cell, int side) {
    return kSheetGap + static_cast<int>(cell) * (kSheetCell + kSheetGap) + (kSheetCell - side) / 2;
  };
  const int x = start(column, picture.width);
  const int y = start(row, picture.height);
  for (int line = 0; line < picture.height; ++line) {
    const std::uint8_t* from = picture.row(line);
    std::copy(from, from + std::ptrdiff_t{3} * picture.width, sheet.row(y + line) + std::ptrdiff_t{3} * x);
  }
}

std::uint64_t usable_rows(const shards::Manifest::Shard& shard) {
  return shard.samples() - static_cast<std::uint64_t>(shard.withdrawn_size());
}

// Row of the shard's usable row `number`. REQUIRES: number < usable_rows(shard)
std::uint64_t usable_row(const shards::Manifest::Shard& shard, std::uint64_t number) {
  for (const std::uint32_t withdrawn : shard.withdrawn()) {
    if (withdrawn > number) break;
    ++number;
  }
  return number;
}

data::Image picture_of(const shards::ImageShardReader& reader, std::uint64_t row) {
  const std::vector<std::byte> bytes = reader.read(row);
  if (runtime::content_hash(bytes) != reader.hash(row)) {
    throw runtime::DataError("its bytes do not have the XXH3-128 that /hash says");
  }
  return data::decode(bytes);
}

// The shards of one source and split, in the order of the manifest.
using Part = std::vector<const shards::Manifest::Shard*>;

// Draws one row of the sheet.
class RowPainter {
 public:
  RowPainter(ContactSheet& result, data::Image& image, const std::filesystem::path& folder,
             const shards::Manifest& manifest)
      : result_(result), image_(image), folder_(folder), manifest_(manifest) {}

  void paint(std::size_t row, const Part& part) {
    std::uint64_t usable = 0;
    for (const shards::Manifest::Shard* shard : part) usable += usable_rows(*shard);
    const std::uint64_t cells = std::min<std::uint64_t>(kSheetColumns, usable);
    std::uint64_t before = 0;  // usable rows of the shards before
    std::uint64_t cell = 0;
    for (const shards::Manifest::Shard* shard : part) {
      // The middles of equal parts of the usable rows.
      std::vector<std::uint64_t> rows;
      const std::uint64_t end = before + usable_rows(*shard);
      for (; cell < cells && (2 * cell + 1) * usable / (2 * cells) < end; ++cell) {
        rows.push_back(usable_row(*shard, (2 * cell + 1) * usable / (2 * cells) - before));
      }
      before = end;
      if (!rows.empty()) paint_shard(row, *shard, rows);
    }
  }

 private:
  // Puts rows of one shard into the next cells.
  void paint_shard(std::size_t row, const shards::Manifest::Shard& shard, const std::vector<std::uint64_t>& rows) {
    std::vector<std::string>& keys = result_.rows[row].keys;
    const auto add_fault = [&](std::optional<std::uint64_t> at, const std::string& key, const std::string& what) {
      result_.faults.push_back({shard.file(), at, key, what});
    };
    std::optional<shards::ImageShardReader> reader;
    try {
      reader.emplace(folder_ / shard.file(), shard, manifest_.sources(static_cast<int>(shard.source())).name());
      if (shard.total_bytes() > kMostBytes) throw runtime::DataError("it is larger than any shard");
    } catch (const runtime::Error& error) {
      add_fault(std::nullopt, "", error.what());
      keys.resize(keys.size() + rows.size());
      return;
    }
    for (const std::uint64_t at : rows) {
      keys.emplace_back();
      try {
        const std::string key = reader->key(at);
        try {
          paste(image_, fit_into_cell(picture_of(*reader, at)), row, keys.size() - 1);
          keys.back() = key;
        } catch (const runtime::Error& error) {
          add_fault(at, key, error.what());
        }
      } catch (const runtime::Error& error) {
        add_fault(at, "", error.what());
      }
    }
  }

  ContactSheet& result_;
  data::Image& image_;
  const std::filesystem::path& folder_;
  const shards::Manifest& manifest_;
};

}  // namespace

ContactSheet write_contact_sheet(const std::filesystem::path& target, const std::filesystem::path& folder,
                                 const shards::Manifest& manifest) {
  std::map<std::pair<std::uint32_t, std::uint32_t>, Part> parts;
  for (const shards::Manifest::Shard& shard : manifest.shards()) {
    if (usable_rows(shard) > 0) parts[{shard.source(), shard.split()}].push_back(&shard);
  }
  if (parts.empty()) throw runtime::DataError(fmt::format("{} holds no picture to show", folder.native()));
  const std::size_t rows = std::min(parts.size(), kMostSheetRows);
  ContactSheet sheet{.width = kSheetGap + kSheetColumns * (kSheetCell + kSheetGap),
                     .height = kSheetGap + static_cast<int>(rows) * (kSheetCell + kSheetGap),
                     .left_out = parts.size() - rows};
  data::Image image{sheet.width, sheet.height, {}};
  image.rgb.assign(std::size_t{3} * static_cast<std::size_t>(sheet.width) * static_cast<std::size_t>(sheet.height),
                   kBackground);
  RowPainter painter(sheet, image, folder, manifest);
  for (const auto& [place, part] : parts) {
    if (sheet.rows.size() == rows) break;
    sheet.rows.push_back({place.first, static_cast<shards::Split>(place.second), {}});
    painter.paint(sheet.rows.size() - 1, part);
  }
  runtime::write_file_atomically(target, data::encode_png(image));
  return sheet;
}

}  // namespace cskd::inspect
