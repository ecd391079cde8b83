#include "inference/prediction.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "data/render_view.h"
#include "runtime/error.h"
#include "runtime/work_queue.h"

namespace cskd::inference {
namespace {

// Pictures and views at once, at most.
constexpr std::uint64_t kMostPictures = 32;
constexpr std::uint64_t kMostViews = 64;
// That ranks take at a time, at most.
constexpr std::uint64_t kMostBatches = 16;

struct PictureBatch {
  std::uint64_t first = 0;
  std::uint64_t pictures = 0;  // 0: there is no more for this rank
  at::Tensor pixels;           // [n * V, S, S, 3] uint8
  at::Tensor damaged;          // [n] bool: its pixels mean nothing
};

// Numbers of batches, a rank's next ones; on the loader's threads, one after the other.
class BatchQueue {
 public:
  BatchQueue(runtime::World& world, std::uint64_t batches, bool heeds_signals)
      : batches_(batches),
        // Small sets are shared out by single batches.
        each_(std::clamp<std::uint64_t>(batches / (8 * static_cast<std::uint64_t>(world.size())), 1, kMostBatches)),
        queue_(world, static_cast<std::int64_t>((batches + each_ - 1) / each_), {.heeds_signals = heeds_signals}) {}

  std::optional<std::uint64_t> next() {
    if (next_ == end_) {
      const std::optional<std::int64_t> item = is_done_ ? std::nullopt : queue_.next();
      if (!item) {
        is_done_ = true;
        return std::nullopt;
      }
      next_ = static_cast<std::uint64_t>(*item) * each_;
      end_ = std::min(batches_, next_ + each_);
    }
    return next_++;
  }

  void finish(const std::string& doing) { queue_.finish(doing); }

 private:
  const std::uint64_t batches_;
  const std::uint64_t each_;
  runtime::WorkQueue queue_;
  std::uint64_t next_ = 0;
  std::uint64_t end_ = 0;
  bool is_done_ = false;
};

// What one rank's batches came to, by number.
class PredictedRows {
 public:
  explicit PredictedRows(std::uint64_t at_once) : at_once_(static_cast<std::int64_t>(at_once)) {}

  // `rows` [n, V, K], n = at_once but for the last batch of all.
  void add(std::uint64_t batch, at::Tensor rows) {
    numbers_.push_back(static_cast<std::int64_t>(batch));
    rows_.push_back(std::move(rows));
  }

  // All ranks' [N, V, K]. Collective.
  at::Tensor gather(std::uint64_t samples, std::uint64_t views, distributed::Communicator& communicator) const {
    // Ranks hold different numbers of batches: padded to the most.
    at::Tensor most = at::tensor(std::vector<std::int64_t>{static_cast<std::int64_t>(rows_.size()),
                                                           rows_.empty() ? 0 : rows_.front().size(2)})
                          .to(communicator.device());
    communicator.all_reduce(most, distributed::Reduction::kMax);
    most = most.to(at::kCPU);
    const std::int64_t batches = most[0].item<std::int64_t>();
    const std::int64_t width = most[1].item<std::int64_t>();
    const at::Tensor numbers = at::full({batches}, -1, at::kLong);
    const at::Tensor padded = at::zeros({batches, at_once_, static_cast<std::int64_t>(views), width});
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const auto place = static_cast<std::int64_t>(i);
      numbers[place].fill_(numbers_[i]);
      padded[place].narrow(0, 0, rows_[i].size(0)).copy_(rows_[i]);
    }
    const std::vector<at::Tensor> all_numbers = communicator.all_gather(numbers.to(communicator.device()));
    const std::vector<at::Tensor> all_rows = communicator.all_gather(padded.to(communicator.device()));
    const auto total = static_cast<std::int64_t>(samples);
    at::Tensor whole = at::empty({total, static_cast<std::int64_t>(views), width});
    for (std::size_t rank = 0; rank < all_rows.size(); ++rank) {
      const at::Tensor of_rank = all_numbers[rank].to(at::kCPU);
      const at::Tensor rows = all_rows[rank].to(at::kCPU);
      for (std::int64_t i = 0; i < batches; ++i) {
        const std::int64_t first = of_rank[i].item<std::int64_t>() * at_once_;
        if (first < 0) continue;
        const std::int64_t count = std::min(at_once_, total - first);
        whole.narrow(0, first, count).copy_(rows[i].narrow(0, 0, count));
      }
    }
    return whole;
  }

 private:
  const std::int64_t at_once_;
  std::vector<std::int64_t> numbers_;
  std::vector<at::Tensor> rows_;
};

// `outputs` [n, V, K] of the pictures of a batch.
void require_finite(const at::Tensor& outputs, const PictureBatch& batch, const Network& network,
                    const batches::CheckedCorpus& corpus, const data::SampleSet& samples) {
  const at::Tensor usable = outputs.isfinite().all(2).all(1).logical_or(batch.damaged);
  if (usable.all().item<bool>()) return;
  const auto first = static_cast<std::uint64_t>(usable.logical_not().to(at::kByte).argmax().item<std::int64_t>());
  const data::SampleRef sample = samples.at(batch.first + first);
  throw runtime::DataError(
      fmt::format("the predictions of {} for {} are not finite: its weights or activations are too large; try "
                  "compute.precision = \"fp32\", or train it anew",
                  network.name, corpus.corpus().shard(sample.shard)->name(sample.row)));
}

}  // namespace

at::Tensor predict_distributions(models::HeadedEncoder& model, const batches::CheckedCorpus& corpus,
                                 const data::SampleSet& samples, const Prediction& prediction,
                                 const run::Context& context,
                                 const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const auto forward = [&model](const at::Tensor& pixels) {
    return torch::softmax(model.forward(models::normalise(pixels, model.shape())), 1);
  };
  return predict({.name = model.shape().name, .side = model.shape().image_size, .forward = forward}, corpus, samples,
                 prediction, context, progress);
}

at::Tensor predict(const Network& network, const batches::CheckedCorpus& corpus, const data::SampleSet& samples,
                   const Prediction& prediction, const run::Context& context,
                   const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const torch::NoGradGuard no_gradients;
  const std::uint64_t views = data::count_of(prediction.views);
  const std::uint64_t at_once = std::min(kMostPictures, kMostViews / views);
  // Whole batches are shared out, so that what a picture is computed with does not depend on the number of ranks.
  const std::uint64_t batches = (samples.size() + at_once - 1) / at_once;
  BatchQueue queue(context.world, batches, prediction.heeds_signals);
  const int side = network.side;
  std::uint64_t begun = 0;  // pictures of the batch that was begun last
  const auto loader = batches::make_loader<PictureBatch>(
      context, batches::pixel_bytes(at_once * views, side), 0, batches + 1,
      {.begin =
           [&](std::uint64_t) {
             const std::optional<std::uint64_t> batch = queue.next();
             begun = 0;
             if (!batch) return PictureBatch{};
             const std::uint64_t first = *batch * at_once;
             const std::uint64_t pictures = std::min(samples.size() - first, at_once);
             begun = pictures;
             for (std::uint64_t i = 0; i < pictures; ++i) corpus.source().will_use(samples, first + i);
             return PictureBatch{.first = first,
                                 .pictures = pictures,
                                 .pixels = batches::pixel_room(pictures * views, side, context.communicator.device()),
                                 .damaged = at::zeros({static_cast<std::int64_t>(pictures)}, at::kBool)};
           },
       .fill =
           [&](PictureBatch& batch, std::uint64_t item) {
             const data::SampleRef sample = samples.at(batch.first + item);
             const auto render = [&](const shards::ImageShardReader& shard, std::span<const std::byte> bytes) {
               std::uint64_t place = item * views;
               for (const data::View& view :
                    data::test_views(prediction.views, shard.width(sample.row), shard.height(sample.row)))
                 data::render_view(bytes, view, side, batches::resize_mode(context.config),
                                   batches::picture_in(batch.pixels, place++));
             };
             if (prediction.leave_out_damaged) {
               batch.damaged.data_ptr<bool>()[item] = !corpus.source().try_sample(
                   sample, [&](const data::SampleSource::Sample& found) { render(found.shard, found.bytes); });
               return;
             }
             const auto shard = corpus.corpus().shard(sample.shard);
             const std::vector<std::byte> bytes = data::read_picture(*shard, sample.row);
             try {
               render(*shard, bytes);
             } catch (const runtime::DataError&) {
               runtime::rethrow_with_context(fmt::format("{} cannot be decoded", shard->name(sample.row)));
             }
           },
       .items = [&begun](std::uint64_t) { return begun; }});
  PredictedRows own(at_once);
  for (std::int64_t done = 0;;) {
    const PictureBatch loaded = loader->next();
    if (loaded.pictures == 0) break;
    const at::Tensor pixels = batches::to_device(loaded.pixels, context.communicator.device());
    const at::Tensor rows = [&] {
      const c10::InferenceMode inference;
      return network.forward(pixels).to(at::kCPU);
    }();
    const at::Tensor outputs = rows.view({-1, static_cast<std::int64_t>(views), rows.size(1)});
    require_finite(outputs, loaded, network, corpus, samples);
    // From here on NaN says that a picture is damaged, and nothing else.
    own.add(loaded.first / at_once,
            outputs.masked_fill(loaded.damaged.view({-1, 1, 1}), std::numeric_limits<double>::quiet_NaN()));
    done += static_cast<std::int64_t>(loaded.pictures) * context.world.size();
    if (context.world.rank() == 0)
      progress(std::min(done, static_cast<std::int64_t>(samples.size())), static_cast<std::int64_t>(samples.size()));
  }
  queue.finish(prediction.doing);
  return own.gather(samples.size(), views, context.communicator);
}

}  // namespace cskd::inference
