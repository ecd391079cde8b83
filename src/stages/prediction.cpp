#include "stages/prediction.h"

#include <algorithm>

#include <torch/torch.h>

#include "data/prefetcher.h"
#include "stages/batches.h"

namespace cskd::stages {
namespace {

constexpr std::uint64_t kBatch = 32;  // pictures at once

}  // namespace

at::Tensor predict_distributions(models::HeadedEncoder& model, const data::Corpus& corpus,
                                 const data::SampleSet& samples, bool mirrored, const Context& context,
                                 const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const torch::NoGradGuard no_gradients;
  const std::uint64_t views = mirrored ? 2 : 1;
  // Whole batches are shared out, so that what a picture is computed with does not depend on the number of ranks.
  const std::uint64_t batches = (samples.size() + kBatch - 1) / kBatch;
  const auto ranks = static_cast<std::uint64_t>(context.world.size());
  const auto rank = static_cast<std::uint64_t>(context.world.rank());
  const std::uint64_t each = (batches + ranks - 1) / ranks;
  const std::uint64_t first = std::min(batches, rank * each);
  const std::uint64_t end = std::min(batches, first + each);
  data::Prefetcher<at::Tensor> loader(
      context.loader_threads, static_cast<std::uint64_t>(context.loader_threads) + 2, first, end,
      [&](std::uint64_t batch) {
        std::vector<ViewRequest> requests;
        for (std::uint64_t i = batch * kBatch; i < std::min(samples.size(), (batch + 1) * kBatch); ++i) {
          const data::SampleRef sample = samples.at(i);
          const shards::ImageShardReader& shard = corpus.shard(sample.shard);
          for (std::uint64_t view = 0; view < views; ++view) {
            requests.push_back(
                {sample, data::whole_view(shard.width(sample.row), shard.height(sample.row), view == 1)});
          }
        }
        return render_batch(corpus, requests, model.shape().image_size, resize_mode(context.config));
      });
  std::vector<at::Tensor> parts;
  std::int64_t bins = 0;
  for (std::uint64_t batch = first; batch < end; ++batch) {
    const at::Tensor pixels = loader.next().to(context.communicator.device());
    const at::Tensor distributions =
        torch::softmax(model.forward(models::normalise(pixels, model.shape())), 1).to(at::kCPU);
    bins = distributions.size(1);
    parts.push_back(distributions.view({-1, static_cast<std::int64_t>(views), bins}));
    if (context.world.rank() == 0) {
      progress(static_cast<std::int64_t>(std::min(samples.size(), (batch + 1 - first) * kBatch * ranks)),
               static_cast<std::int64_t>(samples.size()));
    }
  }
  // Ranks hold different numbers of pictures: padded to the largest, cut to the whole.
  at::Tensor widest = at::full({1}, bins, at::kLong).to(context.communicator.device());
  context.communicator.all_reduce(widest, distributed::Reduction::kMax);
  bins = widest.item<std::int64_t>();
  const at::Tensor own = at::zeros({static_cast<std::int64_t>(each * kBatch), static_cast<std::int64_t>(views), bins});
  if (!parts.empty()) {
    const at::Tensor all = at::cat(parts);
    own.narrow(0, 0, all.size(0)).copy_(all);
  }
  std::vector<at::Tensor> gathered = context.communicator.all_gather(own.to(context.communicator.device()));
  return at::cat(gathered).to(at::kCPU).narrow(0, 0, static_cast<std::int64_t>(samples.size())).contiguous();
}

}  // namespace cskd::stages
