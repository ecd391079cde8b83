#include "bench/loader_bench.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/resident_memory.h"
#include "data/corpus.h"
#include "data/damage.h"
#include "data/loader.h"
#include "data/multiset_hash.h"
#include "data/render_view.h"
#include "data/sample_source.h"
#include "data/sampler.h"
#include "data/view.h"
#include "runtime/error.h"
#include "runtime/free_space.h"
#include "runtime/freed_memory.h"
#include "shards/manifest.h"

namespace cskd::bench {
namespace {

constexpr double kMostDamaged = 0.001;

std::filesystem::path corpus_folder(const std::filesystem::path& folder) {
  const bool is_run = !std::filesystem::exists(folder / shards::kManifestFile) &&
                      std::filesystem::exists(folder / "shards" / shards::kManifestFile);
  return is_run ? folder / "shards" : folder;
}

data::SampleSet all_samples(const data::Corpus& corpus) {
  data::SampleSet samples = data::SampleSet::of_split(corpus, shards::Split::kUnlabelled);
  for (const shards::Split split : {shards::Split::kTrain, shards::Split::kValidation, shards::Split::kTest})
    samples = samples.followed_by(data::SampleSet::of_split(corpus, split));
  return samples;
}

// Each sample once an epoch.
std::vector<data::SampleGroup> evenly(std::vector<data::SampleGroup> groups) {
  for (data::SampleGroup& group : groups) group.weight = 1;
  return groups;
}

struct LoadedBatch {
  std::uint64_t position = 0;
  std::vector<data::SampleUse> uses;
  std::unique_ptr<std::uint8_t[]> pixels;  // [n, S, S, 3]
};

class Run {
 public:
  explicit Run(const LoaderOptions& options)
      : options_(options),
        corpus_(corpus_folder(options.folder)),
        damage_(kMostDamaged),
        source_(corpus_, options.seed, damage_),
        samples_(all_samples(corpus_)),
        order_(options.seed, data::kStreamUnlabelledOrder, evenly(samples_.groups())),
        picture_bytes_(std::size_t{3} * static_cast<std::size_t>(options.size) *
                       static_cast<std::size_t>(options.size)),
        batches_((order_.size() + options.batch - 1) / options.batch) {}

  LoaderFigures measure() {
    LoaderFigures figures{.images = order_.size(), .is_complete = true};
    data::MultisetHash each_once;
    for (std::uint64_t i = 0; i < samples_.size(); ++i) each_once.add(i);
    for (const shards::Manifest::Shard& shard : corpus_.manifest().shards())
      figures.encoded_bytes += shard.total_bytes();
    data::Loader<LoadedBatch> loader(options_.threads,
                                     data::prefetch_depth(options_.prefetch_bytes, options_.batch * picture_bytes_), 0,
                                     options_.epochs * batches_,
                                     {.begin = [this](std::uint64_t ticket) { return begin(ticket); },
                                      .fill = [this](LoadedBatch& batch, std::uint64_t item) { fill(batch, item); },
                                      .items = [this](std::uint64_t ticket) { return items(ticket); }});
    while (figures.epochs.size() < options_.epochs) {
      const auto start = std::chrono::steady_clock::now();
      data::MultisetHash found;
      LoaderEpoch result;
      for (std::uint64_t i = 0; i < batches_; ++i) {
        const LoadedBatch batch = loader.next();
        result.images += batch.uses.size();
        for (const data::SampleUse& use : batch.uses) found.add(use.sample);
      }
      result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      result.resident_bytes = resident_bytes();
      figures.epochs.push_back(result);
      figures.is_complete = figures.is_complete && found == each_once;
    }
    figures.damaged = damage_.damaged();
    return figures;
  }

 private:
  std::uint64_t items(std::uint64_t ticket) const {
    return std::min(options_.batch, order_.size() - ticket % batches_ * options_.batch);
  }

  LoadedBatch begin(std::uint64_t ticket) const {
    LoadedBatch batch{.position = ticket / batches_ * order_.size() + ticket % batches_ * options_.batch};
    batch.uses = order_.at(batch.position, items(ticket));
    if (options_.work == LoaderWork::kViews)
      batch.pixels = std::make_unique_for_overwrite<std::uint8_t[]>(picture_bytes_ * batch.uses.size());
    if (options_.work != LoaderWork::kOrder) {
      for (const data::SampleUse& use : batch.uses) source_.will_use(samples_, use.sample);
    }
    return batch;
  }

  void fill(LoadedBatch& batch, std::uint64_t item) const {
    if (options_.work == LoaderWork::kOrder) return;
    source_.with_sample(samples_, batch.uses[item].sample, [&](const data::SampleSource::Sample& sample) {
      if (options_.work == LoaderWork::kBytes) return;
      data::render_view(
          sample.bytes,
          draw_view(batch.position + item, sample.shard.width(sample.ref.row), sample.shard.height(sample.ref.row)),
          options_.size, options_.resize, {batch.pixels.get() + picture_bytes_ * item, picture_bytes_});
    });
  }

  data::View draw_view(std::uint64_t position, int width, int height) const {
    runtime::Philox random(options_.seed, data::kStreamStoredViews, position);
    switch (options_.view) {
      case LoaderView::kCrop:
        return data::random_resized_crop(random, width, height, options_.min_area);
      case LoaderView::kWeak:
        return data::weak_view(random, width, height);
      case LoaderView::kStrong:
        return data::strong_view(random, width, height);
      case LoaderView::kWhole:
        break;
    }
    return data::whole_view(width, height, false);
  }

  const LoaderOptions& options_;
  data::Corpus corpus_;
  data::DamageLog damage_;
  data::SampleSource source_;
  data::SampleSet samples_;
  data::SampleOrder order_;
  std::size_t picture_bytes_;
  std::uint64_t batches_;  // of an epoch
};

const char* name_of(LoaderWork work) {
  constexpr const char* kNames[] = {"views", "bytes", "order"};
  return kNames[static_cast<std::size_t>(work)];
}

const char* name_of(LoaderView view) {
  constexpr const char* kNames[] = {"crop", "whole", "weak", "strong"};
  return kNames[static_cast<std::size_t>(view)];
}

const char* name_of(data::ResizeMode mode) { return mode == data::ResizeMode::kFast ? "fast" : "exact"; }

double rate(const LoaderEpoch& epoch) { return static_cast<double>(epoch.images) / epoch.seconds; }

}  // namespace

double LoaderFigures::images_per_second() const {
  std::vector<double> rates;
  for (std::size_t i = epochs.size() > 1 ? 1 : 0; i < epochs.size(); ++i) rates.push_back(rate(epochs[i]));
  std::sort(rates.begin(), rates.end());
  const std::size_t middle = rates.size() / 2;
  return rates.size() % 2 == 1 ? rates[middle] : (rates[middle - 1] + rates[middle]) / 2;
}

LoaderFigures run_loader_bench(const LoaderOptions& options) {
  runtime::keep_freed_memory();
  return Run(options).measure();
}

std::string to_text(const LoaderOptions& options, const LoaderFigures& figures) {
  std::string text = fmt::format("{} images ({}) of {}, batches of {}, {} threads: {}", figures.images,
                                 runtime::format_bytes(figures.encoded_bytes), options.folder.native(), options.batch,
                                 options.threads, name_of(options.work));
  if (options.work == LoaderWork::kViews)
    text += fmt::format(" ({}, {} pixels, {})", name_of(options.view), options.size, name_of(options.resize));
  text += fmt::format("\n\n  {:>5} {:>10} {:>10} {:>12}\n", "epoch", "seconds", "images/s", "memory");
  for (std::size_t i = 0; i < figures.epochs.size(); ++i) {
    const LoaderEpoch& epoch = figures.epochs[i];
    text += fmt::format("  {:>5} {:>10.3f} {:>10.0f} {:>12}\n", i + 1, epoch.seconds, rate(epoch),
                        runtime::format_bytes(epoch.resident_bytes));
  }
  text += fmt::format("\n  {:.0f} images/s, each image {} an epoch", figures.images_per_second(),
                      figures.is_complete ? "once" : "NOT once");
  if (figures.damaged > 0) text += fmt::format("; {} uses of damaged ones were replaced", figures.damaged);
  return text;
}

std::string to_json(const LoaderOptions& options, const LoaderFigures& figures) {
  nlohmann::ordered_json epochs = nlohmann::ordered_json::array();
  for (const LoaderEpoch& epoch : figures.epochs) {
    epochs.push_back({{"seconds", epoch.seconds},
                      {"images", epoch.images},
                      {"images_per_second", rate(epoch)},
                      {"resident_bytes", epoch.resident_bytes}});
  }
  return nlohmann::ordered_json{{"threads", options.threads},
                                {"batch", options.batch},
                                {"size", options.size},
                                {"view", name_of(options.view)},
                                {"resize", name_of(options.resize)},
                                {"work", name_of(options.work)},
                                {"images", figures.images},
                                {"encoded_bytes", figures.encoded_bytes},
                                {"damaged", figures.damaged},
                                {"is_complete", figures.is_complete},
                                {"epochs", epochs},
                                {"images_per_second", figures.images_per_second()}}
      .dump(2);
}

}  // namespace cskd::bench
