// What a sample is before it lies in a shard.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cskd::shards {

// What a sample may be used for. Stored in shards; the values never change.
enum class Split : std::uint8_t { kUnlabelled = 0, kTrain = 1, kValidation = 2, kTest = 3 };

std::string_view to_string(Split split);  // "unlabelled", "train", ...

// How people rated a picture: a distribution over the source's bins, its mean and standard deviation in score units.
struct Label {
  float mean = 0;
  float stddev = 0;
  std::vector<float> histogram;  // [K], sums to 1
};

// The label of `counts` votes (or fractions) for the bins. Throws DataError when a count is negative or not finite, or
// all are 0.
Label label_from_counts(const std::vector<double>& counts, const std::vector<float>& bin_centres);

// Where the encoded bytes of a sample lie in a source: a whole file, or a range of one (tar).
struct Entry {
  std::string key;   // unique in the source; for a folder the path below it
  std::string file;  // absolute path
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  Split split = Split::kUnlabelled;
  std::int32_t label = -1;  // position in Listing::labels, -1 without
};

// A sample that cannot be used, and why.
struct Fault {
  std::string key;
  std::string reason;
};

// All that a source holds, sorted by key.
struct Listing {
  std::vector<Entry> entries;
  std::vector<Label> labels;
  std::vector<float> bin_centres;  // [K]; empty for a source without labels
  std::vector<Fault> faults;       // listed by the source but not there
};

}  // namespace cskd::shards
