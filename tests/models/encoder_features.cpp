// Runs one encoder for encoder_test.py, which compares the tensors that this writes with those of timm and open_clip.
//
//   encoder_features names                                         prints the names of all encoders
//   encoder_features NAME IMAGE_SIZE initial OUTPUT                parameters and buffers of a new encoder
//   encoder_features NAME IMAGE_SIZE shapes                        prints their names and shapes, without any memory
//   encoder_features NAME IMAGE_SIZE eval WEIGHTS INPUT OUTPUT     "pooled", "tokens" of INPUT's "images", and
//       "attention.LAYER", the maps [N, heads, L, L] of the first and the last layer; "folded.pooled", "folded.tokens"
//       with norms folded for inference, and "alone.pooled" when nothing else is asked for
//   encoder_features NAME IMAGE_SIZE train WEIGHTS INPUT OUTPUT    in training mode, with INPUT's "drop_path" as its
//       rate and random numbers from 7 on: "pooled", "tokens", "gradient.*" of
//       (pooled * INPUT's "pooled_weight").sum() + (tokens * "tokens_weight").sum(), and the buffers afterwards
//
// NAME may be a plug-in (*.pt2), whose own weights WEIGHTS can name. Without tokens, "tokens" is left out.
// Computing is in the type of the images. The file's metadata holds the encoder's shape, and what the weight file was
// recognised as.
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "models/construction.h"
#include "models/encoder.h"
#include "models/plugin/plugin.h"
#include "models/safetensors.h"
#include "models/weights/encoder_weights.h"

namespace {

using cskd::models::Encoder;
using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

void add_buffers(const Encoder& encoder, NamedTensors& tensors) {
  for (const auto& buffer : encoder.named_buffers()) tensors.emplace_back(buffer.key(), buffer.value());
}

NamedTensors initial_weights(const Encoder& encoder) {
  NamedTensors tensors;
  for (const auto& parameter : encoder.named_parameters()) {
    tensors.emplace_back(parameter.key(), parameter.value().detach());
  }
  add_buffers(encoder, tensors);
  return tensors;
}

NamedTensors features(Encoder& encoder, const std::string& mode, const std::string& input_path) {
  const auto input = cskd::models::read_safetensors(input_path);
  if (input.at("images").scalar_type() != torch::kFloat) encoder.to(input.at("images").scalar_type());
  encoder.train(mode == "train");
  const torch::AutoGradMode gradients(mode == "train");
  const bool has_tokens = encoder.shape().token_width > 0;
  cskd::models::Request request{.tokens = has_tokens, .attention = {}};
  if (mode == "train") {
    encoder.set_drop_path(input.at("drop_path").item<double>());
    torch::manual_seed(7);
  }
  const int layers = encoder.shape().attention_layers;
  if (layers > 0 && mode == "eval") request.attention = {layers - 1, 0};
  const cskd::models::Features found = encoder.forward(input.at("images"), request);
  const auto& [pooled, tokens] = std::tie(found.pooled, found.tokens);
  NamedTensors tensors{{"pooled", pooled.detach()}};
  if (has_tokens) tensors.emplace_back("tokens", tokens.detach());
  for (std::size_t i = 0; i < request.attention.size(); ++i) {
    const auto& [queries, keys] = found.attention[i];
    const torch::Tensor scores = queries.matmul(keys.transpose(2, 3)) / std::sqrt(static_cast<double>(keys.size(3)));
    tensors.emplace_back(fmt::format("attention.{}", request.attention[i]), torch::softmax(scores, 3).contiguous());
  }
  if (mode == "eval") {
    encoder.fold_for_inference();
    const cskd::models::Features folded =
        encoder.forward(input.at("images"), cskd::models::Request{.tokens = has_tokens, .attention = {}});
    tensors.emplace_back("folded.pooled", folded.pooled);
    tensors.emplace_back("alone.pooled", encoder.forward(input.at("images")).pooled);
    if (has_tokens) tensors.emplace_back("folded.tokens", folded.tokens);
  }
  if (mode == "train") {
    torch::Tensor loss = (pooled * input.at("pooled_weight")).sum();
    if (has_tokens) loss = loss + (tokens * input.at("tokens_weight")).sum();
    loss.backward();
    for (const auto& parameter : encoder.named_parameters()) {
      tensors.emplace_back("gradient." + parameter.key(), parameter.value().grad());
    }
    add_buffers(encoder, tensors);
  }
  return tensors;
}

void print_shapes(const std::string& name, int image_size) {
  const cskd::models::ConstructionGuard shapes_only(cskd::models::Construction::kShapes);
  for (const auto& [tensor, value] : initial_weights(*cskd::models::make_encoder(name, image_size))) {
    if (!value.is_meta()) throw std::runtime_error(tensor + " has memory");
    fmt::print("{} {}\n", tensor, fmt::join(value.sizes(), " "));
  }
}

void run(const std::vector<std::string>& arguments) {
  const std::string mode = arguments.size() > 2 ? arguments[2] : "";
  if (arguments == std::vector<std::string>{"names"}) {
    fmt::print("{}\n", fmt::join(cskd::models::encoder_names(), "\n"));
    return;
  }
  if (mode == "shapes" && arguments.size() == 3) return print_shapes(arguments[0], std::stoi(arguments[1]));
  const bool is_initial = mode == "initial" && arguments.size() == 4;
  if (!is_initial && !((mode == "eval" || mode == "train") && arguments.size() == 6)) {
    throw std::runtime_error("the arguments are described at the top of encoder_features.cpp");
  }
  torch::manual_seed(1);  // the same initial weights in every run
  const std::string name = cskd::models::encoder_named(arguments[0]);
  const auto encoder = cskd::models::make_encoder(name, std::stoi(arguments[1]));
  cskd::models::WeightReport report;
  if (!is_initial) report = cskd::models::load_encoder_weights(*encoder, arguments[3]);
  const cskd::models::EncoderShape& shape = encoder->shape();
  cskd::models::write_safetensors(arguments.back(),
                                  is_initial ? initial_weights(*encoder) : features(*encoder, mode, arguments[4]),
                                  {{"name", shape.name},
                                   {"layout", report.layout},
                                   {"left_out", fmt::format("{}", fmt::join(report.left_out, ", "))},
                                   {"image_size", std::to_string(shape.image_size)},
                                   {"pooled_width", std::to_string(shape.pooled_width)},
                                   {"token_width", std::to_string(shape.token_width)},
                                   {"grid", std::to_string(shape.grid)},
                                   {"mean", fmt::format("{}", fmt::join(shape.mean, " "))},
                                   {"stddev", fmt::format("{}", fmt::join(shape.stddev, " "))}});
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run({argv + 1, argv + argc});
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "encoder_features: %s\n", error.what());
    return 1;
  }
}
