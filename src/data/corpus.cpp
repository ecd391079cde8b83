#include "data/corpus.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data/open_staged.h"
#include "data/sampler.h"
#include "runtime/check.h"
#include "runtime/open_files.h"
#include "runtime/shared_files.h"

namespace cskd::data {
namespace {

// The n-th row that is not withdrawn. Before withdrawn row i lie withdrawn[i] - i others.
std::uint64_t nth_row(const std::vector<std::uint32_t>& withdrawn, std::uint64_t n) {
  std::uint64_t passed_over = 0;
  for (std::uint64_t end = withdrawn.size(); passed_over < end;) {
    const std::uint64_t middle = (passed_over + end) / 2;
    if (withdrawn[middle] - middle <= n) {
      passed_over = middle + 1;
    } else {
      end = middle;
    }
  }
  return n + passed_over;
}

}  // namespace

Corpus::Corpus(std::filesystem::path folder, std::shared_ptr<Staging> staging)
    : folder_(std::move(folder)),
      manifest_(shards::read_manifest(folder_)),
      staging_(std::move(staging)),
      readers_(std::make_shared<OpenFiles<shards::ImageShardReader>>(
          std::min(kOpenShards, std::max<std::size_t>(1, runtime::open_files_limit() / 4)),
          [this](std::uint32_t index) { return open(index); })) {}

std::shared_ptr<const shards::ImageShardReader> Corpus::open(std::uint32_t index) const {
  const shards::Manifest::Shard& entry = manifest_.shards(static_cast<int>(index));
  runtime::wait_until_there(folder_ / entry.file());
  const std::string& source = manifest_.sources(static_cast<int>(entry.source())).name();
  return open_staged<shards::ImageShardReader>(staging_,
                                               {.path = folder_ / entry.file(),
                                                .size = entry.file_size(),
                                                .hash = runtime::ContentHash::from_bytes(entry.file_hash())},
                                               readers_, index, entry, source);
}

std::shared_ptr<const shards::ImageShardReader> Corpus::shard(std::uint32_t index) const {
  auto reader = readers_->get(index);
  if (staging_) staging_->count_read(reader->is_copy());
  return reader;
}

SampleSet SampleSet::of_split(const Corpus& corpus, shards::Split split) {
  SampleSet set;
  std::vector<Part> of_sources(static_cast<std::size_t>(corpus.manifest().sources_size()));
  for (int i = 0; i < corpus.manifest().shards_size(); ++i) {
    const shards::Manifest::Shard& shard = corpus.manifest().shards(i);
    const std::uint64_t samples = shard.samples() - static_cast<std::uint64_t>(shard.withdrawn_size());
    if (shard.split() != static_cast<std::uint32_t>(split) || samples == 0) continue;
    Part& part = of_sources[shard.source()];
    part.source = shard.source();
    part.weight = corpus.manifest().sources(static_cast<int>(shard.source())).weight();
    part.shards.push_back(static_cast<std::uint32_t>(i));
    part.withdrawn.emplace_back(shard.withdrawn().begin(), shard.withdrawn().end());
    part.count += samples;
    part.ends.push_back(part.count);
    set.size_ += samples;
  }
  for (Part& part : of_sources) {
    if (part.count > 0) set.parts_.push_back(std::move(part));
  }
  return set;
}

SampleSet SampleSet::choose(std::uint64_t seed, std::uint32_t stream, std::uint64_t count, bool rest) const {
  CSKD_CHECK(count <= size_, "{} of {} samples", count, size_);
  SampleSet set;
  std::uint64_t samples = 0;  // of the sources so far
  std::uint64_t chosen = 0;
  for (const Part& whole : parts_) {
    CSKD_CHECK(!whole.order && whole.count == whole.ends.back(), "only whole splits are chosen from");
    // Rounded so that all together are `count`.
    samples += whole.count;
    const auto until = static_cast<std::uint64_t>(
        std::llround(static_cast<double>(count) * static_cast<double>(samples) / static_cast<double>(size_)));
    const std::uint64_t own = until - chosen;
    chosen += own;
    Part part = whole;
    part.order.emplace(seed, stream, whole.source, whole.count);
    part.first = rest ? own : 0;
    part.count = rest ? whole.count - own : own;
    set.size_ += part.count;
    if (part.count > 0) set.parts_.push_back(std::move(part));
  }
  CSKD_CHECK(chosen == count, "{} of {} samples were chosen", chosen, count);
  return set;
}

SampleSet SampleSet::slice(std::uint64_t first, std::uint64_t count) const {
  CSKD_CHECK(first <= size_ && count <= size_ - first, "samples {} to {} of {}", first, first + count, size_);
  SampleSet set;
  set.size_ = count;
  for (const Part& whole : parts_) {
    const std::uint64_t skipped = std::min(first, whole.count);
    const std::uint64_t taken = std::min(count, whole.count - skipped);
    first -= skipped;
    count -= taken;
    if (taken == 0) continue;
    Part part = whole;
    part.first += skipped;
    part.count = taken;
    set.parts_.push_back(std::move(part));
  }
  return set;
}

SampleSet SampleSet::followed_by(const SampleSet& other) const {
  SampleSet set = *this;
  set.parts_.insert(set.parts_.end(), other.parts_.begin(), other.parts_.end());
  set.size_ += other.size_;
  return set;
}

SampleRef SampleSet::at(std::uint64_t number) const {
  CSKD_CHECK(number < size_, "sample {} of {}", number, size_);
  auto part = parts_.begin();
  for (; number >= part->count; ++part) number -= part->count;
  const std::uint64_t place = part->order ? (*part->order)(part->first + number) : part->first + number;
  const auto end = std::upper_bound(part->ends.begin(), part->ends.end(), place);
  const auto index = static_cast<size_t>(end - part->ends.begin());
  return {part->shards[index], nth_row(part->withdrawn[index], place - (index == 0 ? 0 : part->ends[index - 1]))};
}

SampleSet::Range SampleSet::same_source(std::uint64_t number) const {
  CSKD_CHECK(number < size_, "sample {} of {}", number, size_);
  Range range;
  for (const Part& part : parts_) {
    range.count = part.count;
    if (number < range.first + range.count) break;
    range.first += range.count;
  }
  return range;
}

std::vector<SampleGroup> SampleSet::groups() const {
  constexpr std::uint64_t kBlock = 16'384;  // of samples that were chosen and lie anywhere
  std::vector<SampleGroup> groups;
  for (const Part& part : parts_) {
    SampleGroup& group = groups.emplace_back();
    group.weight = part.weight;
    if (part.order) {
      for (std::uint64_t first = 0; first < part.count; first += kBlock)
        group.blocks.push_back(std::min(kBlock, part.count - first));
    } else {
      for (std::size_t i = 0; i < part.ends.size(); ++i) {
        const std::uint64_t begin = std::max(i == 0 ? 0 : part.ends[i - 1], part.first);
        const std::uint64_t end = std::min(part.ends[i], part.first + part.count);
        if (begin < end) group.blocks.push_back(end - begin);
      }
    }
  }
  return groups;
}

TrainingSets training_sets(const Corpus& corpus, double label_fraction, std::uint64_t seed) {
  const SampleSet train = SampleSet::of_split(corpus, shards::Split::kTrain);
  const SampleSet free = SampleSet::of_split(corpus, shards::Split::kUnlabelled);
  if (train.size() == 0) return {train, free};
  const auto wanted = static_cast<std::uint64_t>(std::llround(label_fraction * static_cast<double>(train.size())));
  const std::uint64_t count = std::clamp<std::uint64_t>(wanted, 1, train.size());
  return {train.choose(seed, kStreamLabelChoice, count, false),
          free.followed_by(train.choose(seed, kStreamLabelChoice, count, true))};
}

}  // namespace cskd::data
