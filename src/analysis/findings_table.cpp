#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "analysis/findings.h"
#include "runtime/error.h"

namespace cskd::analysis {
namespace {

using Json = nlohmann::ordered_json;

double number_in(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

// A figure in `width` places, "-" where there is none.
std::string cell(double value, int width, int digits) {
  return std::isfinite(value) ? fmt::format("{:>{}.{}f}", value, width, digits) : fmt::format("{:>{}}", "-", width);
}

std::size_t name_width(const Json& models) {
  std::size_t width = 5;
  for (const Json& model : models) width = std::max(width, model.at("model").get<std::string>().size());
  return width;
}

std::string collapse_table(const Json& models, std::size_t width) {
  std::string text =
      fmt::format("  {:<{}} {:>7} {:>6} {:>9} {:>10}", "model", width, "RankMe", "of", "std/ideal", "uniformity");
  std::vector<std::string> towers;
  for (const auto& [tower, value] : models.front().at("cka").items()) towers.push_back(tower);
  std::size_t cka_width = 6;
  for (const std::string& tower : towers) cka_width = std::max(cka_width, tower.size() + 4);
  for (const std::string& tower : towers) text += fmt::format(" {:>{}}", "CKA " + tower, cka_width);
  text += "\n";
  for (const Json& model : models) {
    text += fmt::format("  {:<{}} {} {:>6} {} {}", model.at("model").get<std::string>(), width,
                        cell(number_in(model.at("rank_me")), 7, 1), model.at("rank_me_limit").get<std::uint64_t>(),
                        cell(number_in(model.at("direction_std")) / number_in(model.at("direction_std_limit")), 9, 3),
                        cell(number_in(model.at("uniformity")), 10, 3));
    for (const std::string& tower : towers)
      text += fmt::format(" {}", cell(number_in(model.at("cka").at(tower)), static_cast<int>(cka_width), 3));
    text += "\n";
  }
  return text;
}

// Mean over heads.
double head_mean(const Json& layer, const char* figure) {
  double sum = 0;
  for (const Json& head : layer.at("heads")) sum += number_in(head.at(figure));
  return sum / static_cast<double>(layer.at("heads").size());
}

std::string attention_table(const Json& models, std::size_t width) {
  std::string text =
      fmt::format("  {:<{}} {:>8} {:>26} {:>26} {:>8}\n  {:<{}} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n", "",
                  width, "", "attention distance", "attention entropy", "heads'", "model", width, "layers", "first",
                  "middle", "last", "first", "middle", "last", "cosine");
  for (const Json& model : models) {
    const Json& layers = model.at("attention");
    if (layers.empty()) continue;
    const Json* const shown[] = {&layers.front(), &layers[layers.size() / 2], &layers.back()};
    text += fmt::format("  {:<{}} {:>8}", model.at("model").get<std::string>(), width, layers.size());
    for (const char* figure : {"distance", "entropy_share"}) {
      for (const Json* layer : shown) text += fmt::format(" {}", cell(head_mean(*layer, figure), 8, 3));
    }
    text += fmt::format(" {}\n", cell(number_in(layers.back().at("head_similarity")), 8, 3));
  }
  return text;
}

std::string affinity_table(const Json& models, std::size_t width) {
  std::string text =
      fmt::format("  {:<{}} {:>8} {:>18} {:>17}\n", "model", width, "grid", "affinity distance", "affinity entropy");
  for (const Json& model : models) {
    const Json& affinity = model.at("affinity");
    if (affinity.is_null()) {
      text += fmt::format("  {:<{}} {:>8}  {}\n", model.at("model").get<std::string>(), width, "-",
                          model.at("no_affinity").get<std::string>());
      continue;
    }
    const auto grid = affinity.at("grid").get<int>();
    text += fmt::format("  {:<{}} {:>8} {} {}\n", model.at("model").get<std::string>(), width,
                        fmt::format("{}x{}", grid, grid), cell(number_in(affinity.at("distance")), 18, 3),
                        cell(number_in(affinity.at("entropy_share")), 17, 3));
  }
  return text;
}

std::string srcc_cell(const Json& figure) {
  return fmt::format("{} {:>16}", cell(number_in(figure.at("value")), 6, 3),
                     fmt::format("[{:.3f}, {:.3f}]", number_in(figure.at("low")), number_in(figure.at("high"))));
}

std::string probe_table(const Json& document, std::size_t width) {
  const Json& probes = document.at("probes");
  if (!probes.at("reason").is_null()) return fmt::format("  no probes: {}\n", probes.at("reason").get<std::string>());
  std::string text = fmt::format("  {:<{}} {:>7} {:>8} {:>23} {:>23}\n", "model", width, "labels", "alpha",
                                 "linear probe, SRCC", "neighbours, SRCC");
  for (const Json& model : document.at("models")) {
    for (const Json& probe : model.at("probes")) {
      text += fmt::format("  {:<{}} {:>7}", model.at("model").get<std::string>(), width,
                          probe.at("labels").get<std::uint64_t>());
      if (!probe.at("reason").is_null()) {
        text += fmt::format("  {}\n", probe.at("reason").get<std::string>());
        continue;
      }
      text += fmt::format(" {:>8.2g} {} {}\n", probe.at("alpha").get<double>(), srcc_cell(probe.at("linear_srcc")),
                          srcc_cell(probe.at("neighbour_srcc")));
    }
  }
  return text + fmt::format("  on {} pictures of the {} split\n", probes.at("pictures").get<std::uint64_t>(),
                            probes.at("split").get<std::string>());
}

}  // namespace

std::string table_of(const std::string& json, const std::string& origin) {
  try {
    const Json document = Json::parse(json);
    const Json& models = document.at("models");
    if (!models.is_array() || models.empty()) throw runtime::DataError(origin + " is damaged: it holds no model");
    bool has_attention = false;
    for (const Json& model : models) has_attention = has_attention || !model.at("attention").empty();
    const std::size_t width = name_width(models);
    const Json& pictures = document.at("pictures");
    std::string text = collapse_table(models, width);
    text += fmt::format("  over {} pictures of the {} split\n", pictures.at("measured").get<std::uint64_t>(),
                        pictures.at("split").get<std::string>());
    if (has_attention) text += "\n" + attention_table(models, width);
    text += "\n" + affinity_table(models, width);
    return text + "\n" + probe_table(document, width);
  } catch (const nlohmann::json::exception& error) {
    throw runtime::DataError(fmt::format("{} is damaged: {}", origin, error.what()));
  }
}

}  // namespace cskd::analysis
