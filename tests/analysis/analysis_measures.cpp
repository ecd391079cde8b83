// Computes every measure for measures_test.py, which compares them with those of NumPy, SciPy and scikit-learn.
//
//   analysis_measures INPUT OUTPUT
//
// INPUT holds "queries", "keys" (with one class token, of a grid of 4), "tokens" (of a grid of 6, pooled to 3),
// "features", "others", "scores", "fold" of the same pictures, and "judged".
#include <cstdio>
#include <exception>

#include <torch/types.h>

#include "analysis/attention_measures.h"
#include "analysis/collapse_measures.h"
#include "analysis/nearest_neighbours.h"
#include "losses/attention.h"
#include "models/safetensors.h"
#include "optim/ridge_regression.h"

namespace {

namespace analysis = cskd::analysis;
namespace losses = cskd::losses;
namespace optim = cskd::optim;

at::Tensor number(double value) { return torch::full({1}, value, at::kDouble); }

void add_maps(const std::string& name, const at::Tensor& maps, int grid,
              std::vector<std::pair<std::string, at::Tensor>>& found) {
  const at::Tensor distances = losses::patch_distances(grid);
  found.emplace_back(name + ".maps", maps);
  found.emplace_back(name + ".distance", losses::attention_distance(maps, distances));
  found.emplace_back(name + ".entropy", analysis::attention_entropy(maps));
  found.emplace_back(name + ".similarity", analysis::head_similarity(maps));
  found.emplace_back(name + ".histogram", analysis::distance_histogram(maps, distances, 8));
}

void run(const char* input_path, const char* output_path) {
  const auto input = cskd::models::read_safetensors(input_path);
  std::vector<std::pair<std::string, at::Tensor>> found;
  add_maps("attention", losses::patch_attention(input.at("queries"), input.at("keys"), losses::patch_places(17, 4)), 4,
           found);
  add_maps("affinity", losses::token_affinity(input.at("tokens"), 6, 3), 3, found);
  const at::Tensor& features = input.at("features");
  const at::Tensor& others = input.at("others");
  const at::Tensor& scores = input.at("scores");
  const std::int64_t n = features.size(0);
  const analysis::FeatureSums sums = analysis::feature_sums(features);
  const at::Tensor values = analysis::singular_values(sums.products, n);
  const at::Tensor unit = analysis::directions(features);
  found.emplace_back("singular_values", values);
  found.emplace_back("rank_me", number(analysis::rank_me(values)));
  found.emplace_back("direction_std", number(analysis::direction_std(sums, n)));
  found.emplace_back("uniformity", number(analysis::uniformity(analysis::pair_potential(unit, unit), n)));
  const at::Tensor cross = torch::matmul(features.to(at::kDouble).t(), others.to(at::kDouble));
  found.emplace_back("cka", number(analysis::linear_cka(sums, analysis::feature_sums(others), cross, n)));
  std::vector<at::Tensor> folds;
  for (std::int64_t fold = 0; fold <= input.at("fold").max().item<std::int64_t>(); ++fold) {
    const at::Tensor rows = torch::nonzero(input.at("fold").eq(fold)).flatten();
    folds.push_back(optim::ridge_sums(features.index_select(0, rows), scores.index_select(0, rows)));
  }
  const optim::ChosenRidge ridge = optim::cross_validated_ridge(folds);
  found.emplace_back("alpha", number(ridge.alpha));
  found.emplace_back("ridge", ridge.function(input.at("judged")));
  found.emplace_back("neighbours",
                     analysis::mean_score(analysis::nearest_neighbours(input.at("judged"), features, scores, 5)));
  cskd::models::write_safetensors(output_path, found, {});
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 3) throw std::runtime_error("usage: analysis_measures INPUT OUTPUT");
    run(argv[1], argv[2]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "analysis_measures: %s\n", error.what());
    return 1;
  }
}
