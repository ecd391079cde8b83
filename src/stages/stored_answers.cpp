#include "stages/stored_answers.h"

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "batches/batches.h"
#include "data/decode.h"
#include "data/view.h"
#include "models/headed_encoder.h"
#include "run/provenance.h"
#include "runtime/input_file.h"

namespace cskd::stages {
namespace {

features::FeaturePlace answers_place(const run::RunFolder& folder, const std::string& teacher) {
  return {.folder = folder.stage(teacher) / "answers",
          .name = "answers." + teacher,
          .command = "cskd distill",
          .done = "teachers' answers were stored",
          .replaces_others = true};
}

shards::CacheBinding answers_binding(const run::Context& context, const std::string& teacher,
                                     const inference::Model& model, std::int64_t bins) {
  const models::EncoderShape& shape = model->shape();
  return {.encoder = shape.name,
          .weights = runtime::content_hash(runtime::InputFile(context.folder.model(teacher))),
          .image_size = static_cast<std::uint64_t>(shape.image_size),
          .preprocessing = features::preprocessing_of(context.config, shape),
          .views = "whole, mirrored whole",
          .decoder_version = data::kDecoderVersion,
          .view_count = kAnsweredViews,
          .width = static_cast<std::uint64_t>(bins)};
}

}  // namespace

std::uint64_t answer_bytes(std::uint64_t bins) {
  constexpr std::uint64_t kViewBytes = 32;  // of what is stored beside numbers
  return kAnsweredViews * (2 * bins + kViewBytes);
}

features::ViewEncoder answering(const run::Context& context, const std::string& teacher,
                                const inference::Model& model) {
  return {.name = fmt::format("{} ({})", teacher, model->shape().name),
          .advice = "try compute.precision = \"fp32\", or train it anew",
          .side = model->shape().image_size,
          .encode = [model, device = context.communicator.device()](const at::Tensor& pixels) {
            const torch::NoGradGuard no_gradients;
            const at::Tensor images = models::normalise(batches::to_device(pixels, device), model->shape());
            return torch::softmax(model->forward(images), 1).to(at::kCPU).to(at::kHalf).contiguous();
          }};
}

std::unique_ptr<features::CacheSet> stored_answers(const run::Context& context, const std::string& teacher,
                                                   const inference::Model& model, std::int64_t bins,
                                                   const data::Corpus& corpus) {
  constexpr std::uint64_t kBatch = 64;
  const features::FeaturePlace place = answers_place(context.folder, teacher);
  const shards::CacheBinding binding = answers_binding(context, teacher, model, bins);
  runtime::Inputs inputs = run::corpus_inputs(context.config, context.folder);
  inputs.add("contents of the teacher's model", binding.weights.hex());
  features::store_features(context, place, inputs, [&] {
    return features::StoredFeatures{.encoder = answering(context, teacher, model),
                                    .binding = binding,
                                    .batch = kBatch,
                                    .view = [](std::uint64_t, std::uint64_t number, int width, int height) {
                                      return data::test_views(data::TestViews::kMirrored, width, height)[number];
                                    }};
  });
  return std::make_unique<features::CacheSet>(context, place, corpus, binding);
}

}  // namespace cskd::stages
