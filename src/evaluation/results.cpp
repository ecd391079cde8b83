#include "evaluation/results.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::evaluation {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no NaN: a figure that cannot be computed (all predictions equal) is null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json estimate(const metrics::Estimate& figure) {
  return {{"value", number(figure.value)}, {"low", number(figure.low)}, {"high", number(figure.high)}};
}

double mean_of(const std::vector<double>& distribution, const std::vector<double>& bin_centres) {
  const double total = std::accumulate(distribution.begin(), distribution.end(), 0.0);
  return std::inner_product(distribution.begin(), distribution.end(), bin_centres.begin(), 0.0) / total;
}

// The figures of results.json under their names.
using Figure = std::pair<const char*, metrics::Estimate metrics::Scores::*>;
constexpr std::array<Figure, 8> kFigures{{{"srcc", &metrics::Scores::srcc},
                                          {"plcc", &metrics::Scores::plcc},
                                          {"krcc", &metrics::Scores::krcc},
                                          {"accuracy", &metrics::Scores::accuracy},
                                          {"emd", &metrics::Scores::emd},
                                          {"emd2", &metrics::Scores::emd2},
                                          {"mse", &metrics::Scores::mse},
                                          {"std_plcc", &metrics::Scores::std_plcc}}};
constexpr const char* kResultsFile = "results.json";
constexpr const char* kPredictionsFile = "predictions.csv";
constexpr std::uint64_t kLargestResults = 1 << 20;
constexpr std::uint64_t kLargestPredictions = std::uint64_t{1} << 32;

}  // namespace

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + "\"";
}

std::vector<std::filesystem::path> write_results(const std::filesystem::path& folder,
                                                 const std::vector<ModelResult>& results,
                                                 const std::vector<TestPredictions>& predictions) {
  Json list = Json::array();
  for (const ModelResult& result : results) {
    Json entry{{"model", result.model}, {"label_fraction", result.label_fraction}, {"n", result.scores.n}};
    for (const auto& [name, figure] : kFigures) entry[name] = estimate(result.scores.*figure);
    if (result.fidelity) {
      entry["fidelity"] = {{"teachers", result.fidelity->teachers},
                           {"srcc", estimate(result.fidelity->srcc)},
                           {"teachers_srcc", estimate(result.fidelity->teachers_srcc)}};
    }
    list.push_back(entry);
  }
  runtime::write_file_atomically(folder / kResultsFile, Json{{"results", list}}.dump(2) + "\n");
  std::string table = "picture,model,rated_mean,predicted_mean\n";
  for (const TestPredictions& model : predictions) {
    for (size_t i = 0; i < model.keys.size(); ++i) {
      table += fmt::format("{},{},{:.6f},{:.6f}\n", quoted(model.keys[i]), model.model,
                           mean_of(model.rated[i], model.bin_centres), mean_of(model.predicted[i], model.bin_centres));
    }
  }
  runtime::write_file_atomically(folder / kPredictionsFile, table);
  return {kResultsFile, kPredictionsFile};
}

std::string results_json(const std::filesystem::path& folder) {
  return runtime::read_text_file(folder / kResultsFile, kLargestResults);
}

std::vector<ModelResult> read_results(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kResultsFile;
  const auto value_of = [](const Json& number) {
    return number.is_null() ? std::numeric_limits<double>::quiet_NaN() : number.get<double>();
  };
  const auto estimate_of = [&](const Json& parts) {
    return metrics::Estimate{value_of(parts.at("value")), value_of(parts.at("low")), value_of(parts.at("high"))};
  };
  try {
    std::vector<ModelResult> results;
    const Json document = Json::parse(runtime::read_text_file(path, kLargestResults));
    for (const Json& entry : document.at("results")) {
      ModelResult& result = results.emplace_back();
      result.model = entry.at("model").get<std::string>();
      result.label_fraction = entry.at("label_fraction").get<double>();
      result.scores.n = entry.at("n").get<std::int64_t>();
      for (const auto& [name, figure] : kFigures) {
        result.scores.*figure = estimate_of(entry.at(name));
      }
      if (const auto fidelity = entry.find("fidelity"); fidelity != entry.end()) {
        result.fidelity = {.teachers = fidelity->at("teachers").get<std::vector<std::string>>(),
                           .srcc = estimate_of(fidelity->at("srcc")),
                           .teachers_srcc = estimate_of(fidelity->at("teachers_srcc"))};
      }
    }
    return results;
  } catch (const nlohmann::json::exception& error) {
    throw runtime::DataError(fmt::format("{} is damaged: {}", path.native(), error.what()));
  }
}

std::vector<PredictedMeans> read_predictions(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kPredictionsFile;
  const std::string text = runtime::read_text_file(path, kLargestPredictions);
  std::vector<PredictedMeans> models;
  for (std::size_t at = text.find('\n') + 1; at != 0 && at < text.size();) {
    // A key in quotes, which may hold ends of lines, as file names may; see quoted(). Then ",model,rated,predicted".
    std::string key;
    std::size_t end = at + 1;
    for (; end < text.size(); ++end) {
      if (text[end] == '"' && (end + 1 == text.size() || text[++end] != '"')) break;
      key += text[end];
    }
    const std::size_t line_end = std::min(text.find('\n', end), text.size());
    const std::size_t model_end = text.find(',', std::min(end + 1, text.size()));
    double rated = 0;
    double predicted = 0;
    const char* last = text.data() + line_end;
    bool is_row = text[at] == '"' && end < text.size() && text[end] == ',' && model_end < line_end;
    if (is_row) {
      const auto first = std::from_chars(text.data() + model_end + 1, last, rated);
      is_row = first.ec == std::errc() && first.ptr < last && *first.ptr == ',';
      if (is_row) {
        const auto second = std::from_chars(first.ptr + 1, last, predicted);
        is_row = second.ec == std::errc() && second.ptr == last;
      }
    }
    if (!is_row) throw runtime::DataError(fmt::format("{} is damaged at byte {}", path.native(), at));
    const std::string model = text.substr(end + 1, model_end - end - 1);
    if (models.empty() || models.back().model != model)
      models.push_back({.model = model, .pictures = {}, .rated = {}, .predicted = {}});
    models.back().pictures.push_back(std::move(key));
    models.back().rated.push_back(rated);
    models.back().predicted.push_back(predicted);
    at = line_end + 1;
  }
  return models;
}

std::string results_table(const std::vector<ModelResult>& results) {
  std::size_t width = 11;
  for (const ModelResult& result : results) width = std::max(width, result.model.size());
  std::string text = fmt::format("  {:<{}} {:>7} {:>6} {:>15} {:>6} {:>9} {:>6} {:>6}\n", "model", width, "labels",
                                 "SRCC", "95 % interval", "PLCC", "accuracy", "EMD", "n");
  for (const ModelResult& result : results) {
    const metrics::Scores& scores = result.scores;
    text += fmt::format("  {:<{}} {:>5.0f} % {:>6.3f} {:>15} {:>6.3f} {:>7.1f} % {:>6.4f} {:>6}\n", result.model, width,
                        100 * result.label_fraction, scores.srcc.value,
                        fmt::format("{:.3f}..{:.3f}", scores.srcc.low, scores.srcc.high), scores.plcc.value,
                        100 * scores.accuracy.value, scores.emd.value, scores.n);
  }
  for (const ModelResult& result : results) {
    if (!result.fidelity) continue;
    const Fidelity& fidelity = *result.fidelity;
    const bool is_one = fidelity.teachers.size() == 1;
    text +=
        fmt::format("  {} repeats {} with SRCC {:.3f} ({:.3f}..{:.3f})", result.model,
                    fmt::join(fidelity.teachers, " and "), fidelity.srcc.value, fidelity.srcc.low, fidelity.srcc.high);
    if (fidelity.teachers_srcc.value > 0) {
      text += fmt::format(" and keeps {:.0f} % of {} SRCC of {:.3f}",
                          100 * result.scores.srcc.value / fidelity.teachers_srcc.value,
                          is_one ? "its teacher's" : "its teachers'", fidelity.teachers_srcc.value);
    }
    text += "\n";
  }
  return text;
}

}  // namespace cskd::evaluation
