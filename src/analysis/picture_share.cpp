#include "analysis/picture_share.h"

#include <algorithm>

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "data/render_view.h"
#include "models/headed_encoder.h"
#include "runtime/error.h"

namespace cskd::analysis {
namespace {

constexpr std::uint64_t kAtOnce = 32;

struct PictureBatch {
  std::uint64_t first = 0;  // number in the set
  at::Tensor pixels;        // [n, S, S, 3] uint8
  at::Tensor is_readable;   // [n] bool
};

std::uint64_t pictures_of(const data::SampleSet& samples, std::uint64_t batch) {
  return std::min(samples.size() - batch * kAtOnce, kAtOnce);
}

// Features of some pictures of a batch.
models::Features chosen(const models::Features& features, const at::Tensor& rows) {
  models::Features some{.pooled = features.pooled.index_select(0, rows), .tokens = {}, .attention = {}};
  if (features.tokens.defined()) some.tokens = features.tokens.index_select(0, rows);
  for (const models::Attention& layer : features.attention)
    some.attention.push_back({layer.queries.index_select(0, rows), layer.keys.index_select(0, rows)});
  return some;
}

// Which pictures have finite features, [n].
at::Tensor finite_pictures(const models::Features& features) {
  const auto are_finite = [](const at::Tensor& values) { return values.flatten(1).isfinite().all(1); };
  at::Tensor finite = are_finite(features.pooled);
  if (features.tokens.defined()) finite = finite.logical_and(are_finite(features.tokens));
  for (const models::Attention& layer : features.attention)
    finite = finite.logical_and(are_finite(layer.queries)).logical_and(are_finite(layer.keys));
  return finite.to(at::kCPU);
}

void require_finite(const models::Features& features, const std::vector<std::uint64_t>& numbers, const Pass& pass,
                    const batches::CheckedCorpus& corpus, const data::SampleSet& samples) {
  const at::Tensor finite = finite_pictures(features);
  if (finite.all().item<bool>()) return;
  const auto first = finite.logical_not().to(at::kByte).argmax().item<std::int64_t>();
  const data::SampleRef sample = samples.at(numbers[static_cast<std::size_t>(first)]);
  throw runtime::DataError(
      fmt::format("the features of {} for {} are not finite: its weights or activations are too large; train it anew, "
                  "or leave it out by naming the models to analyse",
                  pass.name, corpus.corpus().shard(sample.shard)->name(sample.row)));
}

}  // namespace

FeatureRows pass_over(const Pass& pass, const batches::CheckedCorpus& corpus, const data::SampleSet& samples,
                      const run::Context& context,
                      const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  const torch::NoGradGuard no_gradients;
  const models::EncoderShape& shape = pass.encoder.shape();
  const at::Device device = context.communicator.device();
  const auto rank = static_cast<std::uint64_t>(context.world.rank());
  const auto ranks = static_cast<std::uint64_t>(context.world.size());
  const std::uint64_t batches = (samples.size() + kAtOnce - 1) / kAtOnce;
  const std::uint64_t own = batches > rank ? (batches - rank - 1) / ranks + 1 : 0;
  const auto batch_of = [&](std::uint64_t ticket) { return rank + ticket * ranks; };
  const auto loader = batches::make_loader<PictureBatch>(
      context, batches::pixel_bytes(kAtOnce, shape.image_size), 0, own,
      {.begin =
           [&](std::uint64_t ticket) {
             const std::uint64_t pictures = pictures_of(samples, batch_of(ticket));
             PictureBatch batch{.first = batch_of(ticket) * kAtOnce,
                                .pixels = batches::pixel_room(pictures, shape.image_size, device),
                                .is_readable = at::zeros({static_cast<std::int64_t>(pictures)}, at::kBool)};
             for (std::uint64_t i = 0; i < pictures; ++i) corpus.source().will_use(samples, batch.first + i);
             return batch;
           },
       .fill =
           [&](PictureBatch& batch, std::uint64_t item) {
             const data::SampleRef sample = samples.at(batch.first + item);
             batch.is_readable.data_ptr<bool>()[item] =
                 corpus.source().try_sample(sample, [&](const data::SampleSource::Sample& found) {
                   const data::View view =
                       data::whole_view(found.shard.width(sample.row), found.shard.height(sample.row), false);
                   data::render_view(found.bytes, view, shape.image_size, batches::resize_mode(context.config),
                                     batches::picture_in(batch.pixels, item));
                 });
           },
       .items = [&](std::uint64_t ticket) { return pictures_of(samples, batch_of(ticket)); }});
  FeatureRows rows;
  std::vector<at::Tensor> parts;
  for (std::uint64_t ticket = 0; ticket < own; ++ticket) {
    const PictureBatch batch = loader->next();
    const at::Tensor readable = torch::nonzero(batch.is_readable).flatten();
    rows.unreadable += static_cast<std::uint64_t>(batch.pixels.size(0) - readable.size(0));
    if (readable.size(0) > 0) {
      // All of the batch goes through the encoder, so that what is lost does not change how the rest is computed.
      const at::Tensor images = models::normalise(batches::to_device(batch.pixels, device), shape);
      const models::Features features = chosen(pass.encoder.forward(images, pass.request), readable.to(device));
      std::vector<std::uint64_t> numbers;
      for (std::int64_t i = 0; i < readable.size(0); ++i)
        numbers.push_back(batch.first + static_cast<std::uint64_t>(readable[i].item<std::int64_t>()));
      require_finite(features, numbers, pass, corpus, samples);
      if (pass.use) pass.use(features);
      parts.push_back(features.pooled.to(at::kCPU, at::kFloat));
      rows.numbers.insert(rows.numbers.end(), numbers.begin(), numbers.end());
    }
    const std::uint64_t done = std::min(samples.size(), (ticket + 1) * ranks * kAtOnce);
    if (rank == 0) progress(static_cast<std::int64_t>(done), static_cast<std::int64_t>(samples.size()));
  }
  rows.features = parts.empty() ? torch::zeros({0, shape.pooled_width}) : torch::cat(parts);
  return rows;
}

}  // namespace cskd::analysis
