#include "stages/batches.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "data/render_view.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::stages {

data::ResizeMode resize_mode(const config::Config& config) {
  return config.data().resize() == config::fast ? data::ResizeMode::kFast : data::ResizeMode::kExact;
}

at::Tensor render_batch(const data::Corpus& corpus, const std::vector<ViewRequest>& requests, int side,
                        data::ResizeMode mode) {
  const at::Tensor pixels = at::empty({static_cast<std::int64_t>(requests.size()), side, side, 3}, at::kByte);
  const size_t stride = size_t{3} * static_cast<size_t>(side) * static_cast<size_t>(side);
  auto* target = pixels.data_ptr<std::uint8_t>();
  for (const ViewRequest& request : requests) {
    const shards::ImageShardReader& shard = corpus.shard(request.sample.shard);
    const std::vector<std::byte> bytes = shard.read(request.sample.row);
    try {
      data::render_view(bytes, request.view, side, mode, {target, stride});
    } catch (const runtime::DataError&) {
      runtime::rethrow_with_context(fmt::format("{} row {} ('{}') cannot be decoded", shard.path().native(),
                                                request.sample.row, shard.key(request.sample.row)));
    }
    target += stride;
  }
  return pixels;
}

at::Tensor label_batch(const data::Corpus& corpus, const std::vector<data::SampleRef>& samples) {
  CSKD_CHECK(!samples.empty(), "no samples");
  std::vector<float> values;
  for (const data::SampleRef& sample : samples) {
    const shards::Label label = corpus.shard(sample.shard).label(sample.row);
    values.insert(values.end(), label.histogram.begin(), label.histogram.end());
  }
  const auto n = static_cast<std::int64_t>(samples.size());
  return at::tensor(at::ArrayRef<float>(values)).view({n, static_cast<std::int64_t>(values.size()) / n});
}

std::vector<double> bin_centres(const data::Corpus& corpus) {
  std::vector<double> centres;
  for (const shards::Manifest::Source& source : corpus.manifest().sources()) {
    if (source.bin_centres_size() == 0) continue;
    const std::vector<double> found(source.bin_centres().begin(), source.bin_centres().end());
    if (!centres.empty() && found != centres) {
      throw runtime::UsageError(
          fmt::format("source '{}' rates on another scale than the sources before it", source.name()));
    }
    centres = found;
  }
  if (centres.empty()) throw runtime::UsageError("no source has labels: scores cannot be learnt");
  return centres;
}

}  // namespace cskd::stages
