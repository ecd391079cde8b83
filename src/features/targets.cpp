#include "features/targets.h"

#include <cstring>
#include <utility>
#include <vector>

#include <torch/types.h>
#include <torch/utils.h>

#include "batches/batches.h"
#include "data/render_view.h"
#include "features/cache.h"
#include "features/tower.h"
#include "models/headed_encoder.h"
#include "runtime/check.h"

namespace cskd::features {
namespace {

class CachedTargets final : public TargetSource {
 public:
  CachedTargets(const run::Context& context, const config::Tower& tower, const data::Corpus& corpus)
      : context_(context),
        tower_(tower),
        caches_(context, cache_place(context.folder, tower), corpus,
                cache_binding(context.config, tower, models::encoder_shape(tower.architecture()))) {}

  void start(const data::SampleSet& samples, std::uint64_t step) override {
    caches_.audit(samples, step, view_encoder(context_, tower_, load_tower(context_, tower_)));
  }

  TargetRoom begin(const at::Tensor& pixels) const override {
    return {.features = at::empty({pixels.size(0), static_cast<std::int64_t>(caches_.width())}, at::kHalf),
            .pixels = {}};
  }

  data::View view(const data::SampleSource::Sample& sample, std::uint64_t number) const override {
    return view_of(caches_.of(sample.ref.shard)->view(sample.ref.row, number));
  }

  void fill(TargetRoom& room, std::uint64_t item, const data::SampleSource::Sample& sample, std::uint64_t number,
            const data::View&) const override {
    const std::vector<std::uint16_t> bits = caches_.of(sample.ref.shard)->pooled(sample.ref.row, number);
    std::memcpy(static_cast<char*>(room.features.data_ptr()) + 2 * bits.size() * item, bits.data(), 2 * bits.size());
  }

  std::uint64_t bytes(std::uint64_t pictures) const override { return 2 * pictures * caches_.width(); }

  Target of(const TargetRoom& room, double share, const models::ComputeSettings&) override {
    CSKD_CHECK(share == 1, "stored features cannot be mixed");
    return {.pooled = batches::to_device(room.features, context_.communicator.device()).to(at::kFloat), .tokens = {}};
  }

 private:
  const run::Context& context_;
  const config::Tower& tower_;
  CacheSet caches_;
};

class OnlineTargets final : public TargetSource {
 public:
  OnlineTargets(const run::Context& context, const config::Tower& tower, bool with_tokens)
      : context_(context),
        series_(view_series(tower)),
        request_{.tokens = with_tokens, .attention = {}},
        shape_(models::encoder_shape(tower.architecture())),
        encoder_(load_tower(context, tower)) {}

  void start(const data::SampleSet&, std::uint64_t) override {}

  TargetRoom begin(const at::Tensor& pixels) const override {
    const bool is_shared = pixels.size(1) == shape_.image_size;
    return {.features = {},
            .pixels = is_shared ? pixels
                                : batches::pixel_room(static_cast<std::uint64_t>(pixels.size(0)), shape_.image_size,
                                                      context_.communicator.device()),
            .is_shared = is_shared};
  }

  data::View view(const data::SampleSource::Sample& sample, std::uint64_t number) const override {
    const std::uint64_t row = sample.ref.row;
    return series_.view(sample.shard.hash(row).prefix(), number, sample.shard.width(row), sample.shard.height(row));
  }

  void fill(TargetRoom& room, std::uint64_t item, const data::SampleSource::Sample& sample, std::uint64_t,
            const data::View& view) const override {
    if (room.is_shared) return;
    data::render_view(sample.bytes, view, shape_.image_size, batches::resize_mode(context_.config),
                      batches::picture_in(room.pixels, item));
  }

  std::uint64_t bytes(std::uint64_t pictures) const override {
    return batches::pixel_bytes(pictures, shape_.image_size);
  }

  Target of(const TargetRoom& room, double share, const models::ComputeSettings& settings) override {
    const torch::NoGradGuard no_gradients;  // not InferenceMode: what it makes takes part in the loss
    const models::AutocastGuard autocast(settings.precision, context_.communicator.device().type());
    const at::Tensor pixels = batches::to_device(room.pixels, context_.communicator.device());
    const models::Features features = encoder_->forward(mixed(models::normalise(pixels, shape_), share), request_);
    return {.pooled = features.pooled.to(at::kFloat),
            .tokens = request_.tokens ? features.tokens.to(at::kFloat) : at::Tensor()};
  }

 private:
  const run::Context& context_;
  const data::ViewSeries series_;
  const models::Request request_;
  const models::EncoderShape shape_;
  const std::shared_ptr<models::Encoder> encoder_;
};

}  // namespace

at::Tensor mixed(const at::Tensor& images, double share) {
  return share == 1 ? images : images * share + images.roll(1, 0) * (1 - share);
}

std::unique_ptr<TargetSource> cached_targets(const run::Context& context, const config::Tower& tower,
                                             const data::Corpus& corpus) {
  return std::make_unique<CachedTargets>(context, tower, corpus);
}

std::unique_ptr<TargetSource> online_targets(const run::Context& context, const config::Tower& tower,
                                             bool with_tokens) {
  return std::make_unique<OnlineTargets>(context, tower, with_tokens);
}

}  // namespace cskd::features
