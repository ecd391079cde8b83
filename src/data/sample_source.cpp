#include "data/sample_source.h"

#include <fmt/format.h>

#include "data/image_header.h"
#include "data/sampler.h"
#include "runtime/error.h"
#include "runtime/philox.h"

namespace cskd::data {

std::vector<std::byte> read_picture(const shards::ImageShardReader& shard, std::uint64_t row) {
  std::vector<std::byte> bytes = shard.read(row);
  const ImageHeader header = read_image_header(bytes);
  if (header.width() != shard.width(row) || header.height() != shard.height(row)) {
    throw runtime::DataError(
        fmt::format("{} is damaged: {} x {} pixels, its shard says {} x {}; run 'cskd shard' again", shard.name(row),
                    header.width(), header.height(), shard.width(row), shard.height(row)));
  }
  return bytes;
}

bool SampleSource::attempt(const SampleRef& ref, std::uint64_t number, const Use& use, const char* remedy) const {
  damage_.count_use();
  std::shared_ptr<const shards::ImageShardReader> shard;
  std::vector<std::byte> bytes;
  try {
    shard = corpus_.shard(ref.shard);
    bytes = read_picture(*shard, ref.row);
  } catch (const runtime::Error&) {
    const std::string& file = corpus_.manifest().shards(static_cast<int>(ref.shard)).file();
    damage_.add(fmt::format("{} row {}", file, ref.row), remedy);
    return false;
  }
  try {
    use({number, ref, *shard, bytes});
  } catch (const runtime::DataError&) {
    damage_.add(shard->name(ref.row), remedy);
    return false;
  }
  return true;
}

bool SampleSource::try_sample(const SampleRef& sample, const Use& use) const {
  return attempt(sample, 0, use, "it is left out");
}

void SampleSource::with_sample(const SampleSet& set, std::uint64_t number, const Use& use) const {
  if (attempt(set.at(number), number, use, "another one takes its place")) return;
  const SampleSet::Range range = set.same_source(number);
  runtime::Philox random(seed_, kStreamStandIns, number);
  for (int i = 1; i < kTries; ++i) {
    const std::uint64_t stand_in = range.first + random.bits64() % range.count;
    if (attempt(set.at(stand_in), stand_in, use, "another one takes its place")) return;
  }
  throw runtime::DataError(
      fmt::format("{} samples of a source that were tried in place of a damaged one are damaged", kTries - 1));
}

void SampleSource::will_use(const SampleSet& set, std::uint64_t number) const {
  const SampleRef ref = set.at(number);
  try {
    corpus_.shard(ref.shard)->will_read(ref.row);
  } catch (const runtime::Error&) {
    return;  // with_sample() will say so
  }
}

}  // namespace cskd::data
