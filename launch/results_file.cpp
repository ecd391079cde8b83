#include "launch/results_file.h"

#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/atomic_file.h"

namespace cskd::launch {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no NaN: a figure that cannot be computed (all predictions equal) is null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json estimate(const evaluation::Estimate& figure) {
  return {{"value", number(figure.value)}, {"low", number(figure.low)}, {"high", number(figure.high)}};
}

double mean_of(const std::vector<double>& distribution, const std::vector<double>& bin_centres) {
  const double total = std::accumulate(distribution.begin(), distribution.end(), 0.0);
  return std::inner_product(distribution.begin(), distribution.end(), bin_centres.begin(), 0.0) / total;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + "\"";
}

}  // namespace

void write_results(const std::filesystem::path& folder, const std::vector<ModelResult>& results,
                   const std::vector<stages::TestPredictions>& predictions) {
  Json list = Json::array();
  for (const ModelResult& result : results) {
    const evaluation::Scores& scores = result.scores;
    list.push_back({{"model", result.model},
                    {"label_fraction", result.label_fraction},
                    {"n", scores.n},
                    {"srcc", estimate(scores.srcc)},
                    {"plcc", estimate(scores.plcc)},
                    {"krcc", estimate(scores.krcc)},
                    {"accuracy", estimate(scores.accuracy)},
                    {"emd1", estimate(scores.emd1)},
                    {"emd2", estimate(scores.emd2)},
                    {"mse", estimate(scores.mse)},
                    {"std_plcc", estimate(scores.std_plcc)}});
  }
  runtime::write_file_atomically(folder / "results.json", Json{{"results", list}}.dump(2) + "\n");
  std::string table = "picture,model,rated_mean,predicted_mean\n";
  for (const stages::TestPredictions& model : predictions) {
    for (size_t i = 0; i < model.keys.size(); ++i) {
      table += fmt::format("{},{},{:.6f},{:.6f}\n", quoted(model.keys[i]), model.model,
                           mean_of(model.rated[i], model.bin_centres), mean_of(model.predicted[i], model.bin_centres));
    }
  }
  runtime::write_file_atomically(folder / "predictions.csv", table);
}

std::string to_json(const RunSummary& summary) {
  Json stages = Json::array();
  for (const RunSummary::Stage& stage : summary.stages) {
    stages.push_back(
        {{"name", stage.name}, {"seconds", stage.seconds}, {"images_per_second", stage.images_per_second}});
  }
  Json results = Json::array();
  for (const ModelResult& result : summary.results) {
    results.push_back({{"model", result.model},
                       {"label_fraction", result.label_fraction},
                       {"srcc", number(result.scores.srcc.value)},
                       {"srcc_low", number(result.scores.srcc.low)},
                       {"srcc_high", number(result.scores.srcc.high)},
                       {"plcc", number(result.scores.plcc.value)},
                       {"accuracy", number(result.scores.accuracy.value)},
                       {"emd", number(result.scores.emd1.value)},
                       {"n", result.scores.n}});
  }
  return Json{{"stages", stages}, {"corpus", Json::parse(summary.corpus)}, {"results", results}}.dump(2) + "\n";
}

std::string to_text(const RunSummary& summary) {
  std::string text = fmt::format("\n  {:<10} {:>9} {:>10}\n", "stage", "seconds", "images/s");
  double total = 0;
  for (const RunSummary::Stage& stage : summary.stages) {
    text += fmt::format("  {:<10} {:>9.1f} {:>10.0f}\n", stage.name, stage.seconds, stage.images_per_second);
    total += stage.seconds;
  }
  text += fmt::format("  {:<10} {:>9.1f}\n\n", "all", total);
  const Json corpus = Json::parse(summary.corpus);
  text += fmt::format("  {} pictures packed; dropped: {} duplicates, {} leaked test pictures, {} faulty\n\n",
                      corpus.value("packed", 0), corpus.value("duplicates", 0), corpus.value("leaked", 0),
                      corpus.value("quarantined", 0));
  return text + results_table(summary.results);
}

std::string results_table(const std::vector<ModelResult>& results) {
  std::string text = fmt::format("  {:<11} {:>7} {:>6} {:>15} {:>6} {:>9} {:>6} {:>6}\n", "model", "labels", "SRCC",
                                 "95 % interval", "PLCC", "accuracy", "EMD", "n");
  for (const ModelResult& result : results) {
    const evaluation::Scores& scores = result.scores;
    text += fmt::format("  {:<11} {:>5.0f} % {:>6.3f} {:>15} {:>6.3f} {:>7.1f} % {:>6.4f} {:>6}\n", result.model,
                        100 * result.label_fraction, scores.srcc.value,
                        fmt::format("{:.3f}..{:.3f}", scores.srcc.low, scores.srcc.high), scores.plcc.value,
                        100 * scores.accuracy.value, scores.emd1.value, scores.n);
  }
  return text;
}

}  // namespace cskd::launch
