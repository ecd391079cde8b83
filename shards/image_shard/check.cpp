#include "shards/image_shard/check.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/content_hash.h"
#include "runtime/crc32c.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "shards/image_shard/file.h"
#include "shards/image_shard/format.h"
#include "shards/sample.h"

namespace cskd::shards {
namespace {

constexpr double kSumTolerance = 1e-4;   // of a histogram
constexpr double kMeanTolerance = 1e-3;  // of a mean, as a share of the range of scores

// An error about a file without the file's path in front, for lists that name it already.
std::string without_path(std::string message, const std::filesystem::path& path) {
  for (const char* separator : {": ", " "}) {
    const std::string prefix = path.native() + separator;
    if (message.starts_with(prefix)) return message.substr(prefix.size());
  }
  return message;
}

// The small datasets of a shard, as far as they are checked.
struct Columns {
  std::vector<std::uint64_t> offset, key_offset;
  std::vector<std::uint32_t> crc32c, source;
  std::vector<std::uint16_t> size;
  std::vector<std::uint8_t> hash, format, orientation, split, key_bytes;
  std::vector<float> mean, stddev, histogram;

  Columns(const runtime::InputFile& file, const Manifest::Shard& shard) {
    const std::uint64_t n = shard.samples();
    const Manifest::Offsets& offsets = shard.offsets();
    offset = file.read_numbers<std::uint64_t>(offsets.offset(), n + 1);
    hash = file.read_numbers<std::uint8_t>(offsets.hash(), 16 * n);
    crc32c = file.read_numbers<std::uint32_t>(offsets.crc32c(), n);
    size = file.read_numbers<std::uint16_t>(offsets.size(), 2 * n);
    format = file.read_numbers<std::uint8_t>(offsets.format(), n);
    orientation = file.read_numbers<std::uint8_t>(offsets.orientation(), n);
    split = file.read_numbers<std::uint8_t>(offsets.split(), n);
    source = file.read_numbers<std::uint32_t>(offsets.source(), n);
    key_bytes = file.read_numbers<std::uint8_t>(offsets.key_bytes(), shard.key_bytes());
    key_offset = file.read_numbers<std::uint64_t>(offsets.key_offset(), n + 1);
    if (shard.bins() == 0) return;
    mean = file.read_numbers<float>(offsets.label_mean(), n);
    stddev = file.read_numbers<float>(offsets.label_std(), n);
    histogram = file.read_numbers<float>(offsets.label_histogram(), n * shard.bins());
  }
};

// One check of one shard.
class Checker {
 public:
  Checker(const std::filesystem::path& path, const Manifest::Shard& shard, const Manifest::Source& source)
      : path_(path), shard_(shard), source_(source), is_listed_(!shard.file_hash().empty()), file_(path) {}

  void run() {
    if (file_.size() != shard_.file_size()) {
      add(fmt::format("has {} bytes, {} were written: it was cut off or replaced", file_.size(), shard_.file_size()));
      return;
    }
    check_layout();
    columns_.emplace(file_, shard_);
    keys_rise_ = rises_to(columns_->key_offset, shard_.key_bytes());
    bytes_rise_ = rises_to(columns_->offset, shard_.total_bytes());
    if (!keys_rise_) add("/key_offset does not rise from 0 to the length of /key_bytes");
    if (!bytes_rise_) add("/offset does not rise from 0 to the length of /bytes");
    check_rows();
    if (keys_rise_) check_keys();
    if (shard_.bins() > 0) check_labels();
    read_through();
  }

  void add(const std::string& what) { add(std::nullopt, what); }
  const ShardCheck& result() const { return result_; }

 private:
  void add(std::optional<std::uint64_t> row, const std::string& what) {
    if (++result_.fault_count > kMostFaultsListed) return;
    result_.faults.push_back({shard_.file(), row, row && keys_rise_ ? std::string(key(*row)) : "", what});
  }

  // REQUIRES: keys_rise_
  std::string_view key(std::uint64_t row) const {
    const std::string_view all(reinterpret_cast<const char*>(columns_->key_bytes.data()), columns_->key_bytes.size());
    return all.substr(columns_->key_offset[row], columns_->key_offset[row + 1] - columns_->key_offset[row]);
  }

  void check_layout() {
    ShardEntry found;
    try {
      found = read_shard_entry(path_);
    } catch (const runtime::DataError& error) {
      add(without_path(error.what(), path_));
      return;
    }
    if (!is_listed_) return;
    const auto compare = [this](const char* what, const auto& in_file, const auto& listed) {
      if (in_file != listed) add(fmt::format("{} is {}, the manifest says {}", what, in_file, listed));
    };
    compare("its source", found.source_name, source_.name());
    compare("the source's number", found.shard.source(), shard_.source());
    compare("its split", to_string(static_cast<Split>(found.shard.split())),
            to_string(static_cast<Split>(shard_.split())));
    compare("its number of bins", found.shard.bins(), shard_.bins());
    if (found.shard.plan() != shard_.plan()) add("it was made to another plan than the manifest lists");
    const std::vector<Dataset> in_file = datasets_of(found.shard);
    const std::vector<Dataset> listed = datasets_of(shard_);
    for (std::size_t i = 0; i < std::min(in_file.size(), listed.size()); ++i) {
      if (in_file[i].offset == listed[i].offset && in_file[i].length == listed[i].length) continue;
      add(fmt::format("/{} has {} bytes from byte {}, the manifest says {} from {}", listed[i].name, in_file[i].length,
                      in_file[i].offset, listed[i].length, listed[i].offset));
    }
  }

  void check_rows() {
    for (std::uint64_t row = 0; row < shard_.samples(); ++row) {
      const std::uint16_t width = columns_->size[2 * row];
      const std::uint16_t height = columns_->size[2 * row + 1];
      if (width == 0 || height == 0) add(row, fmt::format("/size is {} x {}", width, height));
      const int format = columns_->format[row];
      if (format < 1 || format > 3) add(row, fmt::format("/format is {}", format));
      const int orientation = columns_->orientation[row];
      if (orientation < 1 || orientation > 8) add(row, fmt::format("/orientation is {}", orientation));
      const int split = columns_->split[row];
      if (split != static_cast<int>(shard_.split())) {
        add(row, fmt::format("/split is {}, its shard's is {}", split, shard_.split()));
      }
      const std::uint32_t expected = is_listed_ ? shard_.source() : columns_->source.front();
      if (columns_->source[row] != expected) {
        add(row, fmt::format("/source is {}, its shard's is {}", columns_->source[row], expected));
      }
      if (bytes_rise_ && columns_->offset[row] == columns_->offset[row + 1]) add(row, "the picture has no bytes");
    }
  }

  void check_keys() {
    std::unordered_map<std::string_view, std::uint64_t> rows;
    for (std::uint64_t row = 0; row < shard_.samples(); ++row) {
      const auto [first, is_new] = rows.try_emplace(key(row), row);
      if (!is_new) add(row, fmt::format("row {} has the same key", first->second));
    }
  }

  void check_labels() {
    const std::uint64_t bins = shard_.bins();
    const bool has_centres = static_cast<std::uint64_t>(source_.bin_centres_size()) == bins;
    for (std::uint64_t row = 0; row < shard_.samples(); ++row) {
      const std::span<const float> shares = std::span(columns_->histogram).subspan(row * bins, bins);
      double sum = 0;
      double mean = 0;
      bool is_share = true;
      for (std::uint64_t bin = 0; bin < bins; ++bin) {
        is_share = is_share && shares[bin] >= 0 && shares[bin] <= 1 + kSumTolerance;  // false for NaN
        sum += shares[bin];
        if (has_centres) mean += double{shares[bin]} * source_.bin_centres(static_cast<int>(bin));
      }
      if (!is_share || std::abs(sum - 1) > kSumTolerance) {
        add(row, is_share ? fmt::format("/label/histogram sums to {:.6f}, not 1", sum)
                          : "/label/histogram holds a value that is not a share of votes");
        continue;
      }
      const double stored = columns_->mean[row];
      if (!std::isfinite(stored) || !(columns_->stddev[row] >= 0) || !std::isfinite(columns_->stddev[row])) {
        add(row, fmt::format("/label/mean is {}, /label/std {}", stored, columns_->stddev[row]));
      } else if (has_centres) {
        const double range = double{*source_.bin_centres().rbegin()} - *source_.bin_centres().begin();
        if (std::abs(mean - stored) > kMeanTolerance * std::max(range, 1e-6)) {
          add(row, fmt::format("/label/mean is {:.4f}, that of its histogram {:.4f}", stored, mean));
        }
      }
    }
  }

  // The hash of the file and the checksums of its pictures, from one reading.
  void read_through() {
    constexpr std::uint64_t kBlock = 8ULL << 20;
    runtime::ContentHasher of_file;
    Picture picture;
    std::vector<std::byte> block;
    for (std::uint64_t at = 0; at < file_.size(); at += block.size()) {
      block.resize(std::min(kBlock, file_.size() - at));
      file_.read_at(at, block);
      of_file.add(block);
      if (bytes_rise_) take_pictures(block, at, picture);
    }
    result_.bytes = file_.size();
    result_.file_hash = of_file.hash();
    if (is_listed_ && result_.file_hash != runtime::ContentHash::from_bytes(shard_.file_hash())) {
      result_.faults.insert(result_.faults.begin(), {shard_.file(), std::nullopt, "",
                                                     "the XXH3-128 of the file is not the one in the manifest"});
      result_.faults.resize(std::min(result_.faults.size(), kMostFaultsListed));
      ++result_.fault_count;
    }
  }

  // A picture that has been read in part.
  struct Picture {
    std::uint64_t row = 0;
    std::uint32_t crc32c = 0;
    runtime::ContentHasher hasher;
  };

  // Adds what the block at byte `at` of the file holds of pictures, and judges those that end in it.
  void take_pictures(std::span<const std::byte> block, std::uint64_t at, Picture& picture) {
    for (; picture.row < shard_.samples(); picture = {picture.row + 1, 0, {}}) {
      const std::uint64_t begin = shard_.offsets().bytes() + columns_->offset[picture.row];
      const std::uint64_t end = shard_.offsets().bytes() + columns_->offset[picture.row + 1];
      const std::uint64_t from = std::max(begin, at);
      const std::uint64_t to = std::min(end, at + block.size());
      if (from < to) {
        const std::span<const std::byte> part = block.subspan(from - at, to - from);
        picture.crc32c = runtime::crc32c(part, picture.crc32c);
        picture.hasher.add(part);
      }
      if (end > at + block.size()) return;
      judge(picture);
    }
  }

  void judge(const Picture& picture) {
    ++result_.pictures;
    const std::uint32_t written = columns_->crc32c[picture.row];
    runtime::ContentHash expected;
    std::copy_n(columns_->hash.begin() + static_cast<std::ptrdiff_t>(16 * picture.row), 16, expected.bytes.begin());
    if (picture.crc32c != written) {
      add(picture.row, fmt::format("its bytes have the CRC-32C {:08x}, /crc32c says {:08x}", picture.crc32c, written));
    } else if (picture.hasher.hash() != expected) {
      add(picture.row,
          fmt::format("its bytes have the XXH3-128 {}, /hash says {}", picture.hasher.hash().hex(), expected.hex()));
    }
  }

  const std::filesystem::path& path_;
  const Manifest::Shard& shard_;
  const Manifest::Source& source_;
  bool is_listed_;
  runtime::InputFile file_;
  std::optional<Columns> columns_;
  bool keys_rise_ = false;
  bool bytes_rise_ = false;
  ShardCheck result_;
};

}  // namespace

ShardCheck check_shard(const std::filesystem::path& path, const Manifest::Shard& shard,
                       const Manifest::Source& source) {
  std::optional<Checker> checker;
  const auto only = [&](const std::string& what) {
    return ShardCheck{.faults = {{shard.file(), std::nullopt, "", what}}, .fault_count = 1};
  };
  if (!std::filesystem::exists(path)) return only("the file is missing");
  try {
    checker.emplace(path, shard, source);
    checker->run();
  } catch (const runtime::Error& error) {
    const std::string what = without_path(error.what(), path);
    if (!checker) return only(what);
    checker->add(what);
  }
  return checker->result();
}

}  // namespace cskd::shards
