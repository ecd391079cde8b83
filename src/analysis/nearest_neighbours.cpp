#include "analysis/nearest_neighbours.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <torch/types.h>

#include "analysis/collapse_measures.h"

namespace cskd::analysis {
namespace {

constexpr std::int64_t kQueriesAtOnce = 256;

Neighbours best_of(const at::Tensor& similarities, const at::Tensor& scores, std::int64_t count) {
  const auto [best, places] = similarities.topk(count, 1);
  return {.similarities = best, .scores = scores.gather(1, places)};
}

}  // namespace

Neighbours nearest_neighbours(const at::Tensor& queries, const at::Tensor& features, const at::Tensor& scores,
                              std::int64_t count) {
  const std::int64_t there = std::min(count, features.size(0));
  const at::Tensor known = directions(features).t();
  Neighbours all{.similarities = torch::full({queries.size(0), count}, -std::numeric_limits<double>::infinity(),
                                             queries.options().dtype(at::kDouble)),
                 .scores = torch::zeros({queries.size(0), count}, queries.options().dtype(at::kDouble))};
  for (std::int64_t first = 0; there > 0 && first < queries.size(0); first += kQueriesAtOnce) {
    const at::Tensor block = directions(queries.slice(0, first, first + kQueriesAtOnce));
    const Neighbours found =
        best_of(torch::matmul(block, known), scores.to(at::kDouble).unsqueeze(0).expand({block.size(0), -1}), there);
    all.similarities.slice(0, first, first + kQueriesAtOnce).slice(1, 0, there).copy_(found.similarities);
    all.scores.slice(0, first, first + kQueriesAtOnce).slice(1, 0, there).copy_(found.scores);
  }
  return all;
}

Neighbours merged(const Neighbours& first, const Neighbours& second, std::int64_t count) {
  return best_of(torch::cat({first.similarities, second.similarities}, 1), torch::cat({first.scores, second.scores}, 1),
                 count);
}

at::Tensor mean_score(const Neighbours& neighbours) {
  const at::Tensor is_there = neighbours.similarities.isfinite();
  return torch::where(is_there, neighbours.scores, torch::zeros_like(neighbours.scores)).sum(1) / is_there.sum(1);
}

}  // namespace cskd::analysis
