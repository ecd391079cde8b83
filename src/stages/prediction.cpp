#include "stages/prediction.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <torch/torch.h>

#include "data/render_view.h"
#include "runtime/error.h"

namespace cskd::stages {
namespace {

// Pictures and views at once, at most.
constexpr std::uint64_t kMostPictures = 32;
constexpr std::uint64_t kMostViews = 64;

struct PictureBatch {
  std::uint64_t first = 0;
  at::Tensor pixels;   // [n * V, S, S, 3] uint8
  at::Tensor damaged;  // [n] bool: its pixels mean nothing
};

}  // namespace

at::Tensor predict_distributions(models::HeadedEncoder& model, const CheckedCorpus& corpus,
                                 const data::SampleSet& samples, const Prediction& prediction, const Context& context,
                                 const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const auto forward = [&model](const at::Tensor& pixels) {
    return torch::softmax(model.forward(models::normalise(pixels, model.shape())), 1);
  };
  return predict({.side = model.shape().image_size, .forward = forward}, corpus, samples, prediction, context,
                 progress);
}

at::Tensor predict(const Network& network, const CheckedCorpus& corpus, const data::SampleSet& samples,
                   const Prediction& prediction, const Context& context,
                   const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const torch::NoGradGuard no_gradients;
  const std::uint64_t views = data::count_of(prediction.views);
  const std::uint64_t at_once = std::min(kMostPictures, kMostViews / views);
  // Whole batches are shared out, so that what a picture is computed with does not depend on the number of ranks.
  const std::uint64_t batches = (samples.size() + at_once - 1) / at_once;
  const auto ranks = static_cast<std::uint64_t>(context.world.size());
  const auto rank = static_cast<std::uint64_t>(context.world.rank());
  const std::uint64_t each = (batches + ranks - 1) / ranks;
  const std::uint64_t first = std::min(batches, rank * each);
  const std::uint64_t end = std::min(batches, first + each);
  const int side = network.side;
  const auto pictures_of = [&](std::uint64_t batch) { return std::min(samples.size() - batch * at_once, at_once); };
  const auto loader = make_loader<PictureBatch>(
      context, pixel_bytes(at_once * views, side), first, end,
      {.begin =
           [&](std::uint64_t batch) {
             const std::uint64_t pictures = pictures_of(batch);
             for (std::uint64_t i = 0; i < pictures; ++i) corpus.source().will_use(samples, batch * at_once + i);
             return PictureBatch{.first = batch * at_once,
                                 .pixels = pixel_room(pictures * views, side, context.communicator.device()),
                                 .damaged = at::zeros({static_cast<std::int64_t>(pictures)}, at::kBool)};
           },
       .fill =
           [&](PictureBatch& batch, std::uint64_t item) {
             const data::SampleRef sample = samples.at(batch.first + item);
             const auto render = [&](const shards::ImageShardReader& shard, std::span<const std::byte> bytes) {
               std::uint64_t place = item * views;
               for (const data::View& view :
                    data::test_views(prediction.views, shard.width(sample.row), shard.height(sample.row)))
                 data::render_view(bytes, view, side, resize_mode(context.config), picture_in(batch.pixels, place++));
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
       .items = pictures_of});
  std::vector<at::Tensor> parts;
  std::int64_t width = 0;
  for (std::uint64_t batch = first; batch < end; ++batch) {
    const PictureBatch loaded = loader->next();
    const at::Tensor pixels = to_device(loaded.pixels, context.communicator.device());
    const at::Tensor rows = network.forward(pixels).to(at::kCPU);
    width = rows.size(1);
    parts.push_back(rows.view({-1, static_cast<std::int64_t>(views), width})
                        .masked_fill(loaded.damaged.view({-1, 1, 1}), std::numeric_limits<double>::quiet_NaN()));
    if (context.world.rank() == 0) {
      progress(static_cast<std::int64_t>(std::min(samples.size(), (batch + 1 - first) * at_once * ranks)),
               static_cast<std::int64_t>(samples.size()));
    }
  }
  // Ranks hold different numbers of pictures: padded to the largest, cut to the whole.
  at::Tensor widest = at::full({1}, width, at::kLong).to(context.communicator.device());
  context.communicator.all_reduce(widest, distributed::Reduction::kMax);
  width = widest.item<std::int64_t>();
  const at::Tensor own =
      at::zeros({static_cast<std::int64_t>(each * at_once), static_cast<std::int64_t>(views), width});
  if (!parts.empty()) {
    const at::Tensor all = at::cat(parts);
    own.narrow(0, 0, all.size(0)).copy_(all);
  }
  std::vector<at::Tensor> gathered = context.communicator.all_gather(own.to(context.communicator.device()));
  return at::cat(gathered).to(at::kCPU).narrow(0, 0, static_cast<std::int64_t>(samples.size())).contiguous();
}

}  // namespace cskd::stages
