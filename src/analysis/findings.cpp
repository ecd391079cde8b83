#include "analysis/findings.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/error.h"

namespace cskd::analysis {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;

// JSON has no NaN.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(number(value));
  return list;
}

Json estimate(const metrics::Estimate& figure) {
  return {{"value", number(figure.value)}, {"low", number(figure.low)}, {"high", number(figure.high)}};
}

Json reason(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

// The figures of a head under their names.
using HeadFigure = std::pair<const char*, double HeadFigures::*>;
constexpr HeadFigure kHeadFigures[] = {{"distance", &HeadFigures::distance},
                                       {"distance_std", &HeadFigures::distance_std},
                                       {"distance_pixels", &HeadFigures::distance_pixels},
                                       {"entropy", &HeadFigures::entropy},
                                       {"entropy_std", &HeadFigures::entropy_std},
                                       {"entropy_share", &HeadFigures::entropy_share}};

Json json_of(const HeadFigures& head) {
  Json figures = Json::object();
  for (const auto& [name, figure] : kHeadFigures) figures[name] = number(head.*figure);
  return figures;
}

Json json_of(const LayerFigures& layer) {
  Json heads = Json::array();
  for (const HeadFigures& head : layer.heads) heads.push_back(json_of(head));
  return {{"layer", layer.layer},
          {"grid", layer.grid},
          {"head_similarity", number(layer.head_similarity)},
          {"heads", heads},
          {"histogram", numbers(layer.histogram)}};
}

Json json_of(const ProbeFigures& probe) {
  Json figures{{"fraction", probe.fraction}, {"labels", probe.labels}, {"reason", reason(probe.reason)}};
  if (!probe.reason.empty()) return figures;
  figures["alpha"] = probe.alpha;
  figures["linear_srcc"] = estimate(probe.linear_srcc);
  figures["linear_plcc"] = number(probe.linear_plcc);
  figures["neighbours"] = probe.neighbours;
  figures["neighbour_srcc"] = estimate(probe.neighbour_srcc);
  return figures;
}

Json json_of(const ModelFindings& model, std::uint64_t pictures) {
  Json layers = Json::array();
  for (const LayerFigures& layer : model.layers) layers.push_back(json_of(layer));
  Json affinity;
  if (model.affinity) {
    affinity = json_of(model.affinity->figures);
    affinity["grid"] = model.affinity->grid;
    affinity["histogram"] = numbers(model.affinity->histogram);
  }
  Json cka = Json::object();
  for (const auto& [tower, value] : model.collapse.cka) cka[tower] = number(value);
  Json probes = Json::array();
  for (const ProbeFigures& each : model.probes) probes.push_back(json_of(each));
  return {{"model", model.name},
          {"encoder", model.encoder},
          {"image_size", model.image_size},
          {"width", model.width},
          {"grid", model.grid},
          {"is_trained", model.is_trained},
          {"attention", layers},
          {"no_attention", reason(model.no_attention)},
          {"affinity", affinity},
          {"no_affinity", reason(model.no_affinity)},
          {"rank_me", number(model.collapse.rank_me)},
          {"rank_me_limit", std::min<std::uint64_t>(pictures, static_cast<std::uint64_t>(model.width))},
          {"direction_std", number(model.collapse.direction_std)},
          {"direction_std_limit", 1 / std::sqrt(static_cast<double>(model.width))},
          {"uniformity", number(model.collapse.uniformity)},
          {"cka", cka},
          {"singular_values", numbers(model.collapse.singular_values)},
          {"probes", probes}};
}

// Lines of analysis.csv of one model.
class Lines {
 public:
  Lines(std::string& text, const std::string& model) : text_(text), model_(model) {}

  // What is not given is empty.
  void add(const std::string& figure, double value, const std::string& layer = "", const std::string& head = "",
           const std::string& fraction = "") {
    text_ += fmt::format("{},{},{},{},{},{}\n", model_, figure, layer, head, fraction,
                         std::isfinite(value) ? fmt::format("{:.9g}", value) : "");
  }

 private:
  std::string& text_;
  const std::string& model_;
};

void add_model(const ModelFindings& model, std::string& text) {
  Lines lines(text, model.name);
  for (const LayerFigures& layer : model.layers) {
    const std::string place = std::to_string(layer.layer);
    for (std::size_t head = 0; head < layer.heads.size(); ++head) {
      for (const auto& [name, figure] : kHeadFigures)
        lines.add(fmt::format("attention_{}", name), layer.heads[head].*figure, place, std::to_string(head));
    }
    lines.add("head_similarity", layer.head_similarity, place);
  }
  if (model.affinity) {
    for (const auto& [name, figure] : kHeadFigures)
      lines.add(fmt::format("affinity_{}", name), model.affinity->figures.*figure);
  }
  lines.add("rank_me", model.collapse.rank_me);
  lines.add("direction_std", model.collapse.direction_std);
  lines.add("uniformity", model.collapse.uniformity);
  for (const auto& [tower, value] : model.collapse.cka) lines.add(fmt::format("cka {}", tower), value);
  for (const ProbeFigures& probe : model.probes) {
    const std::string fraction = fmt::format("{:g}", probe.fraction);
    if (!probe.reason.empty()) continue;
    lines.add("linear_srcc", probe.linear_srcc.value, "", "", fraction);
    lines.add("linear_srcc_low", probe.linear_srcc.low, "", "", fraction);
    lines.add("linear_srcc_high", probe.linear_srcc.high, "", "", fraction);
    lines.add("linear_plcc", probe.linear_plcc, "", "", fraction);
    lines.add("linear_alpha", probe.alpha, "", "", fraction);
    lines.add("neighbour_srcc", probe.neighbour_srcc.value, "", "", fraction);
    lines.add("neighbour_srcc_low", probe.neighbour_srcc.low, "", "", fraction);
    lines.add("neighbour_srcc_high", probe.neighbour_srcc.high, "", "", fraction);
  }
}

}  // namespace

std::string to_json(const Findings& findings) {
  Json models = Json::array();
  for (const ModelFindings& model : findings.models) models.push_back(json_of(model, findings.measured()));
  Json shown = Json::array();
  for (const ShownPicture& picture : findings.shown) shown.push_back(picture.key);
  const Json document{{"version", kVersion},
                      {"pictures",
                       {{"split", findings.split},
                        {"wanted", findings.wanted},
                        {"found", findings.found},
                        {"unreadable", findings.unreadable},
                        {"measured", findings.measured()},
                        {"seed", findings.seed}}},
                      {"probes",
                       {{"split", findings.probe_split},
                        {"pictures", findings.probe_pictures},
                        {"reason", reason(findings.no_probes)}}},
                      {"models", models},
                      {"shown", shown}};
  // Keys of pictures need not be UTF-8.
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_csv(const Findings& findings) {
  std::string text = "model,figure,layer,head,label_fraction,value\n";
  for (const ModelFindings& model : findings.models) add_model(model, text);
  return text;
}

}  // namespace cskd::analysis
