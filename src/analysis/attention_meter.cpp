#include "analysis/attention_meter.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <torch/types.h>

#include "analysis/attention_measures.h"
#include "analysis/ranks.h"
#include "losses/attention.h"

namespace cskd::analysis {
namespace {

// Numbers of the maps that are held at once, at most: pictures are taken a few at a time where grids are fine.
constexpr std::int64_t kMostNumbers = 1 << 24;

at::Tensor with_squares(const at::Tensor& values) {
  return torch::stack({values.sum(0), values.square().sum(0)}).to(at::kCPU);
}

std::vector<double> numbers_of(const at::Tensor& values) {
  const at::Tensor flat = values.contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

}  // namespace

AttentionMeter::AttentionMeter(const models::EncoderShape& shape, int affinity_grid, int bins)
    : shape_(shape),
      affinity_grid_(affinity_grid),
      bins_(bins),
      layers_(static_cast<std::size_t>(shape.attention_layers)) {}

models::Request AttentionMeter::request() const {
  models::Request request{.tokens = affinity_grid_ >= 2, .attention = {}};
  request.attention.resize(layers_.size());
  std::iota(request.attention.begin(), request.attention.end(), 0);
  return request;
}

void AttentionMeter::add_maps(const at::Tensor& maps, Sums& sums) const {
  const at::Tensor distances = losses::patch_distances(sums.grid).to(maps.device());
  const at::Tensor heads =
      torch::cat({with_squares(losses::attention_distance(maps, distances)), with_squares(attention_entropy(maps))});
  const at::Tensor histogram = distance_histogram(maps, distances, bins_).mean(1).sum(0).to(at::kCPU);
  const at::Tensor similarity = torch::stack(
      {head_similarity(maps).sum().to(at::kCPU), torch::tensor(static_cast<double>(maps.size(0)), at::kDouble)});
  if (!sums.heads.defined()) {
    sums.heads = torch::zeros_like(heads);
    sums.histogram = torch::zeros_like(histogram);
    sums.similarity = torch::zeros_like(similarity);
  }
  sums.heads += heads;
  sums.histogram += histogram;
  sums.similarity += similarity;
}

void AttentionMeter::add(const models::Features& features) {
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    const models::Attention& attention = features.attention[layer];
    const losses::PatchPlaces places = losses::patch_places(attention.queries.size(2), shape_.grid);
    Sums& sums = layers_[layer];
    sums.grid = places.grid;
    if (places.grid < 2) continue;
    const std::int64_t patches = std::int64_t{places.grid} * places.grid;
    const std::int64_t at_once =
        std::max<std::int64_t>(1, kMostNumbers / (attention.queries.size(1) * patches * patches));
    for (std::int64_t first = 0; first < attention.queries.size(0); first += at_once) {
      add_maps(losses::patch_attention(attention.queries.slice(0, first, first + at_once),
                                       attention.keys.slice(0, first, first + at_once), places),
               sums);
    }
  }
  if (affinity_grid_ < 2) return;
  affinity_.grid = affinity_grid_;
  add_maps(losses::token_affinity(features.tokens, shape_.grid, affinity_grid_), affinity_);
}

std::vector<HeadFigures> AttentionMeter::figures_of(const Sums& sums) const {
  const auto pictures = sums.similarity[1].item<double>();
  const at::Tensor means = sums.heads / pictures;
  const double diagonal = std::sqrt(2.0) * (sums.grid - 1) * shape_.image_size / sums.grid;
  // A token of the affinity has no share in itself.
  const double patches = static_cast<double>(sums.grid) * sums.grid;
  const double most = std::log(&sums == &affinity_ ? patches - 1 : patches);
  std::vector<HeadFigures> heads;
  for (std::int64_t head = 0; head < means.size(1); ++head) {
    const auto mean = [&](int row) { return means[row][head].item<double>(); };
    const auto deviation = [&](int row) { return std::sqrt(std::max(0.0, mean(row + 1) - mean(row) * mean(row))); };
    heads.push_back({.distance = mean(0),
                     .distance_std = deviation(0),
                     .distance_pixels = mean(0) * diagonal,
                     .entropy = mean(2),
                     .entropy_std = deviation(2),
                     .entropy_share = mean(2) / most});
  }
  return heads;
}

void AttentionMeter::finish(distributed::Communicator& communicator, ModelFindings& findings) {
  // A rank without a picture knows no number of heads and no grid: it learns them here.
  const auto reduce = [&](Sums& sums) {
    const std::int64_t heads = sums.heads.defined() ? sums.heads.size(1) : 0;
    const at::Tensor shape = torch::tensor({heads, std::int64_t{sums.grid}}, at::kLong).to(communicator.device());
    communicator.all_reduce(shape, distributed::Reduction::kMax, "shape of attention");
    const auto most_heads = shape[0].item<std::int64_t>();
    sums.grid = shape[1].item<int>();
    if (most_heads == 0) return false;
    if (!sums.heads.defined()) {
      sums.heads = torch::zeros({4, most_heads}, at::kDouble);
      sums.histogram = torch::zeros({bins_}, at::kDouble);
      sums.similarity = torch::zeros({2}, at::kDouble);
    }
    sums.heads = summed(sums.heads, communicator, "attention of heads");
    sums.histogram = summed(sums.histogram, communicator, "attention over distances");
    sums.similarity = summed(sums.similarity, communicator, "similarity of heads");
    return true;
  };
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    Sums& sums = layers_[layer];
    if (!reduce(sums)) continue;
    const auto pictures = sums.similarity[1].item<double>();
    findings.layers.push_back({.layer = static_cast<int>(layer),
                               .grid = sums.grid,
                               .heads = figures_of(sums),
                               .head_similarity = sums.similarity[0].item<double>() / pictures,
                               .histogram = numbers_of(sums.histogram / pictures)});
  }
  if (shape_.attention_layers == 0) {
    findings.no_attention = "this encoder has no attention maps";
  } else if (findings.layers.empty()) {
    findings.no_attention = "its grid is a single patch";
  }
  if (affinity_grid_ < 2) {
    findings.no_affinity = shape_.grid < 2 ? "its grid is 1 x 1: a single token has no others"
                                           : "analyze.affinity_grid leaves a single token";
    return;
  }
  if (!reduce(affinity_)) return;
  const auto pictures = affinity_.similarity[1].item<double>();
  findings.affinity = AffinityFigures{.grid = affinity_.grid,
                                      .figures = figures_of(affinity_).front(),
                                      .histogram = numbers_of(affinity_.histogram / pictures)};
}

}  // namespace cskd::analysis
