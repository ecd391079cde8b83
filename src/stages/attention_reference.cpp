#include "stages/attention_reference.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "config/tables.h"
#include "features/tower.h"
#include "inference/stage_model.h"
#include "losses/attention.h"
#include "models/headed_encoder.h"
#include "runtime/error.h"
#include "stages/model_source.h"

namespace cskd::stages {
namespace {

std::shared_ptr<models::Encoder> load(const run::Context& context, const std::string& of) {
  constexpr std::string_view kTowers = "towers.";
  if (of.starts_with(kTowers))
    return features::load_tower(context, config::table_named(context.config.towers(), of.substr(kTowers.size())));
  const char* const head = of.starts_with("align.") ? models::kProjector : models::kScoreHead;
  const inference::Model model = inference::load_stage_model(context, of, head);
  // The encoder is a part of the model, and lives as long.
  return {model, &model->encoder()};
}

// Pixels [N, S, S, 3] uint8 as `side` a side.
at::Tensor resized(const at::Tensor& pixels, int side) {
  if (pixels.size(1) == side) return pixels;
  const at::Tensor channels = pixels.permute({0, 3, 1, 2}).to(at::kFloat);
  const at::Tensor scaled = at::_upsample_bilinear2d_aa(channels, {side, side}, /*align_corners=*/false);
  return scaled.round_().clamp_(0, 255).to(at::kByte).permute({0, 2, 3, 1}).contiguous();
}

}  // namespace

AttentionReference::AttentionReference(const run::Context& context, const std::string& of,
                                       const models::EncoderShape& student)
    : student_(student), reference_(load(context, of)) {
  pairs_ = std::min(student_.attention_layers, reference_->shape().attention_layers);
  affinity_grid_ = std::min(student_.grid, reference_->shape().grid);
}

models::Request AttentionReference::request() const { return request_to(student_); }

models::Request AttentionReference::request_to(const models::EncoderShape& shape) const {
  models::Request request{.tokens = pairs_ == 0, .attention = {}};
  for (int pair = 1; pair <= pairs_; ++pair) request.attention.push_back(pair * shape.attention_layers / pairs_ - 1);
  return request;
}

at::Tensor AttentionReference::distances(const models::Features& features, const models::EncoderShape& shape) const {
  const auto distance = [](const at::Tensor& maps, int grid) {
    return losses::attention_distance(maps, losses::patch_distances(grid).to(maps.device())).to(at::kFloat);
  };
  if (pairs_ == 0) {
    return distance(losses::token_affinity(features.tokens, shape.grid, affinity_grid_), affinity_grid_).unsqueeze(1);
  }
  std::vector<at::Tensor> layers;
  for (const models::Attention& attention : features.attention) {
    const losses::PatchPlaces places = losses::patch_places(attention.queries.size(2), shape.grid);
    layers.push_back(distance(losses::patch_attention(attention.queries, attention.keys, places), places.grid));
  }
  return torch::stack(layers, 1);
}

at::Tensor AttentionReference::of_student(const models::Features& features) const {
  return distances(features, student_);
}

at::Tensor AttentionReference::of_reference(const at::Tensor& pixels) const {
  const torch::NoGradGuard no_gradients;
  const models::EncoderShape& shape = reference_->shape();
  const at::Tensor images = models::normalise(resized(pixels, shape.image_size), shape);
  return distances(reference_->forward(images, request_to(shape)), shape);
}

void require_attention(const config::Config& config, const config::Distill& distill) {
  if (distill.attention_of().empty()) return;
  if (!distill.partner().empty()) {
    throw runtime::UsageError(
        fmt::format("distill.{0}.attention_of is given beside distill.{0}.partner: of two models that learn from each "
                    "other none keeps another one's attention; leave one of both out",
                    distill.name()));
  }
  for (const std::string& from : {distill.from(), distill.attention_of()}) {
    const ModelSource source = model_source(config, from);
    const models::EncoderShape shape = models::encoder_shape(source.architecture, source.image_size);
    if (shape.grid >= 2 && shape.token_width > 0) continue;
    throw runtime::UsageError(
        fmt::format("distill.{}.attention_of compares distances between tokens, but {} ({}, {} pixels) has {} a side: "
                    "give it a larger image_size",
                    distill.name(), from, source.architecture, shape.image_size, shape.grid));
  }
}

}  // namespace cskd::stages
