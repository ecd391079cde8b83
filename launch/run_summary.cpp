#include "launch/run_summary.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "packing/corpus_table.h"

namespace cskd::launch {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no NaN: a figure that cannot be computed (all predictions equal) is null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

}  // namespace

std::string to_json(const RunSummary& summary) {
  Json stages = Json::array();
  for (const RunSummary::Stage& stage : summary.stages) {
    stages.push_back(
        {{"name", stage.name}, {"seconds", stage.seconds}, {"images_per_second", stage.images_per_second}});
  }
  Json results = Json::array();
  for (const evaluation::ModelResult& result : summary.results.models) {
    results.push_back({{"model", result.model},
                       {"label_fraction", result.label_fraction},
                       {"srcc", number(result.scores.srcc.value)},
                       {"srcc_low", number(result.scores.srcc.low)},
                       {"srcc_high", number(result.scores.srcc.high)},
                       {"plcc", number(result.scores.plcc.value)},
                       {"accuracy", number(result.scores.accuracy.value)},
                       {"emd", number(result.scores.emd.value)},
                       {"n", result.scores.n}});
  }
  return Json{{"stages", stages}, {"corpus", Json::parse(summary.corpus)}, {"results", results}}.dump(2) + "\n";
}

std::string to_text(const RunSummary& summary) {
  std::size_t width = 10;
  for (const RunSummary::Stage& stage : summary.stages) width = std::max(width, stage.name.size());
  std::string text = fmt::format("\n  {:<{}} {:>9} {:>10}\n", "stage", width, "seconds", "images/s");
  double total = 0;
  for (const RunSummary::Stage& stage : summary.stages) {
    text += fmt::format("  {:<{}} {:>9.1f} {:>10.0f}\n", stage.name, width, stage.seconds, stage.images_per_second);
    total += stage.seconds;
  }
  text += fmt::format("  {:<{}} {:>9.1f}\n\n", "all", width, total);
  text += packing::corpus_table(summary.corpus);
  return summary.results.models.empty() ? text : text + "\n" + evaluation::results_table(summary.results);
}

}  // namespace cskd::launch
