// A sample before it lies in a shard.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cskd::shards {

// What a sample may be used for. Stored in shards; the values never change.
enum class Split : std::uint8_t { kUnlabelled = 0, kTrain = 1, kValidation = 2, kTest = 3 };

std::string_view to_string(Split split);  // "unlabelled", "train", ...

// A picture of 8 x 8 pixels, RGB, rows from the top.
constexpr std::size_t kThumbnailBytes = 192;
using Thumbnail = std::array<std::uint8_t, kThumbnailBytes>;

// How people rated a picture: a distribution over the source's bins, its mean and standard deviation in score units.
struct Label {
  float mean = 0;
  float stddev = 0;
  std::vector<float> histogram;  // [K], sums to 1
};

// The label of `counts` votes (or fractions) for the bins. Throws DataError when a count is negative or not finite, or
// all are 0.
Label label_from_counts(const std::vector<double>& counts, const std::vector<float>& bin_centres);

// The label of a mean score without a distribution: the normal of `stddev`, truncated to the span of the bins and
// discretised. A bin reaches halfway to its neighbours, the outermost ones as far outwards as inwards. The normal is
// shifted so that the histogram's mean is the given one, to 1e-6 of the range: a mean at the end of the range leaves
// one bin, a stddev far below a bin's width the two bins around the mean. Label::mean is the given mean, Label::stddev
// that of the histogram. REQUIRES: at least two bins, rising. Throws DataError when the mean lies outside the centres
// of the first and the last bin, or the stddev is negative or wider than they are apart.
Label label_from_mean(double mean, double stddev, const std::vector<float>& bin_centres);

// Where the encoded bytes of a sample lie in a source: a whole file, or a range of one (tar).
struct Entry {
  std::string key;   // unique in the source; for a folder the path below it
  std::string file;  // absolute path
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::int64_t changed = 0;  // modification time of the file, nanoseconds since 1970
  Split split = Split::kUnlabelled;
  std::optional<Label> label;
  std::string fault;  // why it cannot be used, as far as listing tells ("rated, but the picture is missing")
  // What it is instead of a picture (".txt", "link in an archive"): only counted, and nothing else counts.
  std::string passed_over;
};

// Called for each entry of a source, in an order that only the source decides.
using TakeEntry = std::function<void(Entry&&)>;

}  // namespace cskd::shards
