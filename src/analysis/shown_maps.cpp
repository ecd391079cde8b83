#include "analysis/shown_maps.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "data/jpeg_encoder.h"
#include "data/render_view.h"
#include "data/sample_source.h"
#include "losses/attention.h"
#include "models/headed_encoder.h"
#include "runtime/error.h"

namespace cskd::analysis {
namespace {

constexpr int kThumbnailSide = 144;
constexpr int kThumbnailQuality = 80;

std::string thumbnail(std::span<const std::byte> encoded, int width, int height, data::ResizeMode mode) {
  data::Image image{kThumbnailSide, kThumbnailSide, {}};
  image.rgb.resize(std::size_t{3} * kThumbnailSide * kThumbnailSide);
  data::render_view(encoded, data::whole_view(width, height, false), kThumbnailSide, mode, image.rgb);
  const std::vector<std::byte> jpeg = data::encode_jpeg(image, kThumbnailQuality);
  std::string bytes(jpeg.size(), '\0');
  std::memcpy(bytes.data(), jpeg.data(), jpeg.size());
  return bytes;
}

// What each patch receives, mean over heads and queries, 1 where all receive the same.
ShownMap received(const at::Tensor& maps, std::string what, int grid) {
  const at::Tensor shares =
      (maps.mean(at::IntArrayRef{1, 2}) * static_cast<double>(maps.size(3))).to(at::kCPU, at::kFloat).contiguous();
  ShownMap shown{.what = std::move(what), .grid = grid, .pictures = {}};
  for (std::int64_t i = 0; i < shares.size(0); ++i) {
    const float* row = shares.const_data_ptr<float>() + i * shares.size(1);
    shown.pictures.emplace_back(row, row + shares.size(1));
  }
  return shown;
}

}  // namespace

ShownPictures::ShownPictures(const run::Context& context, const batches::CheckedCorpus& corpus,
                             const data::SampleSet& samples, std::uint64_t count)
    : context_(context) {
  const std::uint64_t wanted = std::min(count, samples.size());
  for (std::uint64_t i = 0; i < wanted; ++i) {
    const data::SampleRef sample = samples.at((2 * i + 1) * samples.size() / (2 * wanted));
    const auto shard = corpus.corpus().shard(sample.shard);
    try {
      std::vector<std::byte> bytes = data::read_picture(*shard, sample.row);
      const int width = shard->width(sample.row);
      const int height = shard->height(sample.row);
      const auto source = static_cast<int>(corpus.corpus().manifest().shards(static_cast<int>(sample.shard)).source());
      pictures_.push_back(
          {.key = fmt::format("{}/{}", corpus.corpus().manifest().sources(source).name(), shard->key(sample.row)),
           .jpeg = thumbnail(bytes, width, height, batches::resize_mode(context.config))});
      encoded_.push_back(std::move(bytes));
      sizes_.emplace_back(width, height);
    } catch (const runtime::DataError& error) {
      spdlog::warn("{} is not shown: {}", shard->name(sample.row), error.what());
    }
  }
}

at::Tensor ShownPictures::pixels(int side) const {
  const at::Device device = context_.communicator.device();
  const at::Tensor room = batches::pixel_room(encoded_.size(), side, device);
  for (std::size_t i = 0; i < encoded_.size(); ++i) {
    data::render_view(encoded_[i], data::whole_view(sizes_[i].first, sizes_[i].second, false), side,
                      batches::resize_mode(context_.config), batches::picture_in(room, i));
  }
  return batches::to_device(room, device);
}

std::vector<ShownMap> ShownPictures::maps(models::Encoder& encoder) const {
  const models::EncoderShape& shape = encoder.shape();
  if (pictures_.empty()) return {};
  const torch::NoGradGuard no_gradients;
  std::set<int> layers;
  if (shape.attention_layers > 0) layers = {0, shape.attention_layers / 2, shape.attention_layers - 1};
  models::Request request{.tokens = layers.empty(), .attention = {layers.begin(), layers.end()}};
  if (layers.empty() && shape.grid < 2) return {};
  const models::Features features = encoder.forward(models::normalise(pixels(shape.image_size), shape), request);
  if (layers.empty())
    return {received(losses::token_affinity(features.tokens, shape.grid, shape.grid), "affinity", shape.grid)};
  std::vector<ShownMap> all;
  for (std::size_t i = 0; i < request.attention.size(); ++i) {
    const losses::PatchPlaces places = losses::patch_places(features.attention[i].queries.size(2), shape.grid);
    if (places.grid < 2) continue;
    all.push_back(received(losses::patch_attention(features.attention[i].queries, features.attention[i].keys, places),
                           fmt::format("layer {}", request.attention[i] + 1), places.grid));
  }
  return all;
}

}  // namespace cskd::analysis
