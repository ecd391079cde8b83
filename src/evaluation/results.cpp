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

#include "evaluation/estimate_text.h"
#include "runtime/atomic_file.h"
#include "runtime/csv_field.h"
#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::evaluation {
namespace {

using Json = nlohmann::ordered_json;

struct Moments {
  double mean = 0, std = 0;
};

Moments moments_of(const std::vector<double>& distribution, const std::vector<double>& bin_centres) {
  const double total = std::accumulate(distribution.begin(), distribution.end(), 0.0);
  Moments moments{.mean =
                      std::inner_product(distribution.begin(), distribution.end(), bin_centres.begin(), 0.0) / total};
  double variance = 0;
  for (std::size_t bin = 0; bin < bin_centres.size(); ++bin) {
    const double from_mean = bin_centres[bin] - moments.mean;
    variance += distribution[bin] * from_mean * from_mean / total;
  }
  moments.std = std::sqrt(variance);
  return moments;
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
Json scores_json(const metrics::Scores& scores) {
  Json entry{{"n", scores.n}};
  for (const auto& [name, figure] : kFigures) entry[name] = json_of(scores.*figure);
  if (scores.constant) entry["constant"] = *scores.constant;
  return entry;
}

metrics::Scores scores_of(const Json& entry) {
  metrics::Scores scores;
  scores.n = entry.at("n").get<std::int64_t>();
  for (const auto& [name, figure] : kFigures) scores.*figure = estimate_of(entry.at(name));
  if (const auto constant = entry.find("constant"); constant != entry.end()) scores.constant = constant->get<double>();
  return scores;
}

constexpr const char* kResultsFile = "results.json";
constexpr const char* kPredictionsFile = "predictions.csv";
// "-" for what does not exist.
std::string figure(double value) { return std::isnan(value) ? "-" : fmt::format("{:.3f}", value); }

std::string signed_figure(double value) { return std::isnan(value) ? "-" : fmt::format("{:+.3f}", value); }

std::string fidelity_sentence(const ModelResult& result) {
  const Fidelity& fidelity = *result.fidelity;
  std::string text =
      fmt::format("  {} repeats {} with SRCC {} ({})", result.model, fmt::join(fidelity.teachers, " and "),
                  figure(fidelity.srcc.value), interval_text(fidelity.srcc));
  if (fidelity.teachers_srcc.value > 0 && !std::isnan(result.scores.srcc.value)) {
    text += fmt::format(
        " and keeps {:.0f} % of {} SRCC of {:.3f}", 100 * result.scores.srcc.value / fidelity.teachers_srcc.value,
        fidelity.teachers.size() == 1 ? "its teacher's" : "its teachers'", fidelity.teachers_srcc.value);
  }
  return text + "\n";
}

constexpr std::size_t kNumbers = 4;  // of a row of predictions
constexpr std::uint64_t kLargestResults = 1 << 20;
constexpr std::uint64_t kLargestPredictions = std::uint64_t{1} << 32;

}  // namespace

std::vector<std::filesystem::path> write_results(const std::filesystem::path& folder, const Results& results,
                                                 const std::vector<TestPredictions>& predictions) {
  Json sources = Json::array();
  for (const TestSplit::Source& source : results.split.sources)
    sources.push_back({{"name", source.name}, {"rule", source.rule}, {"pictures", source.pictures}});
  Json models = Json::array();
  for (const ModelResult& result : results.models) {
    Json entry{{"model", result.model}, {"label_fraction", result.label_fraction}};
    entry.update(scores_json(result.scores));
    if (result.fidelity) {
      entry["fidelity"] = {{"teachers", result.fidelity->teachers},
                           {"srcc", json_of(result.fidelity->srcc)},
                           {"teachers_srcc", json_of(result.fidelity->teachers_srcc)}};
    }
    for (const auto& [source, scores] : result.by_source) {
      Json of_source{{"source", source}};
      of_source.update(scores_json(scores));
      entry["by_source"].push_back(of_source);
    }
    models.push_back(entry);
  }
  Json differences = Json::array();
  for (const ModelDifference& each : results.differences) {
    differences.push_back({{"first", each.first},
                           {"second", each.second},
                           {"srcc", json_of(each.difference.srcc)},
                           {"plcc", json_of(each.difference.plcc)}});
  }
  const Json document{
      {"split", {{"hash", results.split.hash}, {"pictures", results.split.pictures}, {"sources", sources}}},
      {"results", models},
      {"differences", differences}};
  runtime::write_file_atomically(folder / kResultsFile, document.dump(2) + "\n");
  std::string table = "picture,model,rated_mean,predicted_mean,rated_std,predicted_std\n";
  for (const TestPredictions& model : predictions) {
    for (std::size_t i = 0; i < model.keys.size(); ++i) {
      const Moments rated = moments_of(model.rated[i], model.bin_centres);
      const Moments predicted = moments_of(model.predicted[i], model.bin_centres);
      table += fmt::format("{},{},{},{},{},{}\n", runtime::csv_field(model.keys[i]), model.model, rated.mean,
                           predicted.mean, rated.std, predicted.std);
    }
  }
  runtime::write_file_atomically(folder / kPredictionsFile, table);
  return {kResultsFile, kPredictionsFile};
}

std::string results_json(const std::filesystem::path& folder) {
  return runtime::read_text_file(folder / kResultsFile, kLargestResults);
}

Results read_results(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kResultsFile;
  try {
    Results results;
    const Json document = Json::parse(runtime::read_text_file(path, kLargestResults));
    const Json& split = document.at("split");
    results.split.hash = split.at("hash").get<std::string>();
    results.split.pictures = split.at("pictures").get<std::uint64_t>();
    for (const Json& source : split.at("sources")) {
      results.split.sources.push_back({.name = source.at("name").get<std::string>(),
                                       .rule = source.at("rule").get<std::string>(),
                                       .pictures = source.at("pictures").get<std::uint64_t>()});
    }
    for (const Json& entry : document.at("results")) {
      ModelResult& result = results.models.emplace_back();
      result.model = entry.at("model").get<std::string>();
      result.label_fraction = entry.at("label_fraction").get<double>();
      result.scores = scores_of(entry);
      if (const auto sources = entry.find("by_source"); sources != entry.end()) {
        for (const Json& source : *sources)
          result.by_source.emplace_back(source.at("source").get<std::string>(), scores_of(source));
      }
      if (const auto fidelity = entry.find("fidelity"); fidelity != entry.end()) {
        result.fidelity = {.teachers = fidelity->at("teachers").get<std::vector<std::string>>(),
                           .srcc = estimate_of(fidelity->at("srcc")),
                           .teachers_srcc = estimate_of(fidelity->at("teachers_srcc"))};
      }
    }
    for (const Json& each : document.at("differences")) {
      results.differences.push_back(
          {.first = each.at("first").get<std::string>(),
           .second = each.at("second").get<std::string>(),
           .difference = {.srcc = estimate_of(each.at("srcc")), .plcc = estimate_of(each.at("plcc"))}});
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
    // A key in quotes, which may hold ends of lines, as file names may; see csv_field(). Then the model and the
    // numbers.
    std::string key;
    std::size_t end = at + 1;
    for (; end < text.size(); ++end) {
      if (text[end] == '"' && (end + 1 == text.size() || text[++end] != '"')) break;
      key += text[end];
    }
    const std::size_t line_end = std::min(text.find('\n', end), text.size());
    const std::size_t model_end = text.find(',', std::min(end + 1, text.size()));
    bool is_row = text[at] == '"' && end < text.size() && text[end] == ',' && model_end < line_end;
    std::array<double, kNumbers> numbers{};
    const char* place = text.data() + model_end;
    const char* last = text.data() + line_end;
    for (std::size_t i = 0; is_row && i < numbers.size(); ++i) {
      is_row = place < last && *place == ',';
      if (!is_row) break;
      const auto read = std::from_chars(place + 1, last, numbers[i]);
      is_row = read.ec == std::errc();
      place = read.ptr;
    }
    is_row = is_row && place == last;
    if (!is_row) throw runtime::DataError(fmt::format("{} is damaged at byte {}", path.native(), at));
    const std::string model = text.substr(end + 1, model_end - end - 1);
    if (models.empty() || models.back().model != model)
      models.push_back({.model = model, .pictures = {}, .rated = {}, .predicted = {}});
    models.back().pictures.push_back(std::move(key));
    models.back().rated.push_back(numbers[0]);
    models.back().predicted.push_back(numbers[1]);
    at = line_end + 1;
  }
  return models;
}

std::string results_table(const Results& results) {
  std::size_t width = 11;
  for (const ModelResult& result : results.models) {
    width = std::max(width, result.model.size());
    for (const auto& [source, scores] : result.by_source) width = std::max(width, source.size() + 5);
  }
  std::string text = fmt::format("  {:<{}} {:>7} {:>6} {:>15} {:>6} {:>9} {:>6} {:>6}\n", "model", width, "labels",
                                 "SRCC", "95 % interval", "PLCC", "accuracy", "EMD", "n");
  const auto add_line = [&](const std::string& name, const std::string& labels, const metrics::Scores& scores) {
    text += fmt::format("  {:<{}} {:>7} {:>6} {:>15} {:>6} {:>7.1f} % {:>6.4f} {:>6}\n", name, width, labels,
                        figure(scores.srcc.value), interval_text(scores.srcc), figure(scores.plcc.value),
                        100 * scores.accuracy.value, scores.emd.value, scores.n);
  };
  for (const ModelResult& result : results.models) {
    add_line(result.model, fmt::format("{:.0f} %", 100 * result.label_fraction), result.scores);
    for (const auto& [source, scores] : result.by_source) add_line("  on " + source, "", scores);
  }
  if (!results.differences.empty()) {
    text += fmt::format("\n  {:<{}} {:>7} {:>6} {:>15} {:>6}\n", results.differences.front().first + " minus", width,
                        "", "SRCC", "95 % interval", "PLCC");
    for (const ModelDifference& each : results.differences) {
      text += fmt::format("  {:<{}} {:>7} {:>6} {:>15} {:>6}\n", each.second, width, "",
                          signed_figure(each.difference.srcc.value), interval_text(each.difference.srcc),
                          signed_figure(each.difference.plcc.value));
    }
    text += "\n";
  }
  for (const ModelResult& result : results.models) {
    if (result.scores.constant) {
      text += fmt::format(
          "  {} gives every picture the same score ({:.3f}): it has learnt nothing, and has no "
          "correlation\n",
          result.model, *result.scores.constant);
    }
    if (result.fidelity) text += fidelity_sentence(result);
  }
  return text;
}

}  // namespace cskd::evaluation
