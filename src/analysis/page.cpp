#include "analysis/page.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include <fmt/format.h>

#include "analysis/page_charts.h"
#include "data/image.h"
#include "data/png_encoder.h"
#include "report/html_page.h"
#include "report/html_text.h"
#include "report/plot.h"

namespace cskd::analysis {
namespace {

std::string percent(double fraction) { return fmt::format("{:.4g} %", 100 * fraction); }

// Shares of the labels that at least one model has figures of, the largest first.
std::set<double, std::greater<>> fractions_of(const Findings& findings) {
  std::set<double, std::greater<>> fractions;
  for (const ModelFindings& model : findings.models) {
    for (const ProbeFigures& probe : model.probes) {
      if (probe.reason.empty()) fractions.insert(probe.fraction);
    }
  }
  return fractions;
}

std::string probe_cell(const ModelFindings& model, double fraction) {
  const auto probe = std::ranges::find(model.probes, fraction, &ProbeFigures::fraction);
  if (probe == model.probes.end()) return "<td>\u2013</td>";
  if (!probe->reason.empty()) return fmt::format("<td title=\"{}\">\u2013</td>", report::html_escaped(probe->reason));
  return fmt::format("<td>{}<small>{}\u2026{}</small></td>", report::figure_text(probe->linear_srcc.value, 3),
                     report::figure_text(probe->linear_srcc.low, 2), report::figure_text(probe->linear_srcc.high, 2));
}

// Why figures are missing, each reason once, with all models that it holds for.
class Reasons {
 public:
  void add(const std::string& model, const std::string& reason) {
    if (reason.empty()) return;
    std::string& models = models_[reason];
    models += (models.empty() ? "" : ", ") + model;
  }

  std::string html() const {
    std::string text;
    for (const auto& [reason, models] : models_)
      text += fmt::format("<p class=\"note\">{}: {}.</p>", report::html_escaped(models), report::html_escaped(reason));
    return text;
  }

 private:
  std::map<std::string, std::string> models_;
};

std::string summary_row(const Findings& findings, std::size_t place) {
  const ModelFindings& model = findings.models[place];
  const CollapseFigures& collapse = model.collapse;
  const auto limit = std::min<std::uint64_t>(findings.measured(), static_cast<std::uint64_t>(model.width));
  const double share = std::clamp(collapse.rank_me / static_cast<double>(limit), 0.0, 1.0);
  std::string row = fmt::format(
      "<tr><th scope=\"row\"><span class=\"swatch s{}\"></span>{}<small>{}, {} px{}</small></th>"
      "<td>{}<small>of {}</small><span class=\"bar s{}\"><i "
      "style=\"width:{:.0f}%\"></i></span></td><td>{}</td><td>{}</td>",
      place % report::kSeriesColours, report::breakable(model.name), report::html_escaped(model.encoder),
      model.image_size, model.is_trained ? "" : ", random weights", report::figure_text(collapse.rank_me, 1), limit,
      place % report::kSeriesColours, 100 * share,
      report::figure_text(collapse.direction_std * std::sqrt(static_cast<double>(model.width)), 3),
      report::figure_text(collapse.uniformity, 3));
  for (const auto& [tower, value] : collapse.cka) row += fmt::format("<td>{}</td>", report::figure_text(value, 3));
  for (const double fraction : fractions_of(findings)) row += probe_cell(model, fraction);
  return row + "</tr>";
}

std::string summary_table(const Findings& findings) {
  std::string head =
      "<th scope=\"col\">model</th><th scope=\"col\">RankMe</th><th scope=\"col\">std<small>of ideal</small></th>"
      "<th scope=\"col\">uniformity<small>lower is better</small></th>";
  for (const auto& [tower, value] : findings.models.front().collapse.cka)
    head += fmt::format("<th scope=\"col\">CKA<small>{}</small></th>", report::html_escaped(tower));
  for (const double fraction : fractions_of(findings))
    head += fmt::format("<th scope=\"col\">probe, SRCC<small>{} of labels</small></th>", percent(fraction));
  std::string rows;
  for (std::size_t i = 0; i < findings.models.size(); ++i) rows += summary_row(findings, i);
  return fmt::format("<div class=\"scroll\"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>", head,
                     rows);
}

std::string layer_table(const ModelFindings& model) {
  std::string rows;
  for (const LayerFigures& layer : model.layers) {
    for (std::size_t head = 0; head < layer.heads.size(); ++head) {
      const HeadFigures& figures = layer.heads[head];
      rows += fmt::format("<tr><th scope=\"row\">{}.{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                          layer.layer + 1, head + 1, report::figure_text(figures.distance, 3),
                          report::figure_text(figures.distance_pixels, 1), report::figure_text(figures.entropy, 3),
                          report::figure_text(figures.entropy_share, 3));
    }
  }
  return fmt::format(
      "<details><summary>{}: figures of all heads</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">"
      "layer.head</th><th scope=\"col\">distance</th><th scope=\"col\">pixels</th><th scope=\"col\">entropy, nats</th>"
      "<th scope=\"col\">of log N</th></tr></thead><tbody>{}</tbody></table></div></details>",
      report::html_escaped(model.name), rows);
}

std::string attention_section(const Findings& findings) {
  const std::string charts = distance_charts(findings);
  if (charts.empty()) {
    return report::section("Attention", "None of these models has attention maps to measure.", "");
  }
  std::string tables;
  Reasons without;
  for (const ModelFindings& model : findings.models) {
    if (!model.layers.empty()) tables += layer_table(model);
    without.add(model.name, model.no_attention);
  }
  return report::section(
             "Attention distance",
             "How far a patch looks, on average, in units of the picture's diagonal. A dot is a head, the line is "
             "the mean of heads. All charts have the same scale.",
             report::cards(charts) + without.html()) +
         report::section(
             "Attention over depth",
             "From the first layer to the last, whatever the number of layers. Encoders without attention are "
             "compared below.",
             attention_legend(findings) + report::cards(entropy_chart(findings) + similarity_chart(findings)) + tables);
}

std::string affinity_section(const Findings& findings) {
  Reasons without;
  for (const ModelFindings& model : findings.models) without.add(model.name, model.no_affinity);
  return report::section(
      "Affinity of spatial tokens",
      "The same two figures for encoders of any kind: which other tokens a token of the last layer is like. "
      "It is no attention, and is not to be compared with it.",
      report::cards(affinity_charts(findings)) + without.html());
}

std::string probe_section(const Findings& findings) {
  if (!findings.no_probes.empty())
    return report::section("Probes of frozen features", "There are none: " + findings.no_probes + ".", "");
  Reasons without;
  for (const ModelFindings& model : findings.models) {
    for (const ProbeFigures& probe : model.probes) {
      if (!probe.reason.empty())
        without.add(model.name, fmt::format("{}, with {}", probe.reason, percent(probe.fraction)));
    }
  }
  return report::section("Probes of frozen features",
                         fmt::format("How well ratings follow from features that are not trained any more: Spearman's "
                                     "correlation on {} pictures of the {} split, with 95 % intervals.",
                                     findings.probe_pictures, findings.probe_split),
                         report::cards(probe_charts(findings)) + without.html());
}

// Brighter where more attention is received: twice the mean, or the most, is white.
std::string heat_picture(const std::vector<float>& values, int grid) {
  const float most = std::max(2.0F, *std::ranges::max_element(values));
  data::Image image{grid, grid, {}};
  for (const float value : values) {
    constexpr double kDarkest = 0.18;
    const double light = kDarkest + (1 - kDarkest) * std::sqrt(std::clamp(value / most, 0.0F, 1.0F));
    image.rgb.insert(image.rgb.end(), 3, static_cast<std::uint8_t>(std::lround(255 * light)));
  }
  return report::data_uri("image/png", data::encode_png(image));
}

// Each shown picture once in the page: cells show it by its class.
std::string picture_styles(const Findings& findings) {
  std::string styles;
  for (std::size_t i = 0; i < findings.shown.size(); ++i)
    styles +=
        fmt::format(".p{}{{background-image:url({})}}", i, report::data_uri("image/jpeg", findings.shown[i].jpeg));
  return styles;
}

std::string model_maps(const Findings& findings, const ModelFindings& model) {
  std::string cells = "<span>picture</span>";
  for (const ShownMap& map : model.maps) cells += fmt::format("<span>{}</span>", report::html_escaped(map.what));
  for (std::size_t i = 0; i < findings.shown.size(); ++i) {
    const std::string key = report::html_escaped(findings.shown[i].key);
    cells += fmt::format("<div class=\"picture p{}\" role=\"img\" aria-label=\"{}\" title=\"{}\"></div>", i, key, key);
    for (const ShownMap& map : model.maps) {
      cells += fmt::format("<div class=\"picture p{}\"><img src=\"{}\" alt=\"{} of {}\"></div>", i,
                           heat_picture(map.pictures[i], map.grid), report::html_escaped(map.what), key);
    }
  }
  return fmt::format(
      "<figure class=\"card\"><figcaption><h3>{}</h3></figcaption><div class=\"maps\" "
      "style=\"grid-template-columns:repeat({},minmax(0,112px))\">{}</div></figure>",
      report::html_escaped(model.name), model.maps.size() + 1, cells);
}

std::string map_section(const Findings& findings) {
  if (findings.shown.empty()) return "";
  std::string content;
  for (const ModelFindings& model : findings.models) {
    if (!model.maps.empty()) content += model_maps(findings, model);
  }
  std::string keys;
  for (const ShownPicture& picture : findings.shown)
    keys += fmt::format("<li><bdi>{}</bdi></li>", report::html_escaped(picture.key));
  return report::section(
      "Where attention goes",
      "What each patch receives, mean over heads and over the patches that look: bright is much, dark is little. "
      "Encoders "
      "without attention show the affinity of their tokens instead. Pictures are squeezed into a square, as "
      "models see them.",
      report::cards(content) + fmt::format("<ol class=\"keys\">{}</ol>", keys));
}

constexpr const char* kDefinitions =
    "<section><h2>What the figures are</h2><dl>"
    "<dt>RankMe</dt><dd>Effective rank of the features: the exponential of the entropy of their singular values. A "
    "collapsed encoder has a small one.</dd>"
    "<dt>std of ideal</dt><dd>Standard deviation of L2-normalised features over pictures, mean over dimensions, times "
    "the root of their number. 1 where features point evenly in all directions, 0 where all are the same.</dd>"
    "<dt>Uniformity</dt><dd>Log of the mean of exp(-2 d\u00b2) over pairs of pictures, with d the distance of their "
    "normalised features. 0 where all are the same.</dd>"
    "<dt>CKA</dt><dd>Linear centred kernel alignment: how alike two models arrange the same pictures, from 0 to 1.</dd>"
    "<dt>Attention distance</dt><dd>Mean distance of patches, weighted by attention, without class token and "
    "registers.</dd>"
    "<dt>Affinity</dt><dd>Softmax of the cosines of spatial tokens over 0.1, the token itself left out, in the place "
    "of "
    "attention.</dd>"
    "<dt>Linear probe</dt><dd>Ridge regression of mean ratings, its penalty chosen by cross-validation on the training "
    "labels alone.</dd>"
    "<dt>Nearest neighbours</dt><dd>Mean rating of the nearest training pictures by cosine.</dd>"
    "</dl></section>";

}  // namespace

std::string to_page(const Findings& findings) {
  std::string lead = fmt::format("{} models over {} pictures of the {} split, chosen with seed {}.",
                                 findings.models.size(), findings.measured(), findings.split, findings.seed);
  if (findings.found < findings.wanted)
    lead += fmt::format(" {} were wanted, the split has {}.", findings.wanted, findings.found);
  if (findings.unreadable > 0) lead += fmt::format(" {} could not be read.", findings.unreadable);
  return report::page(
      "cskd analysis", picture_styles(findings), "Attention and features", lead,
      report::section(
          "At a glance",
          "Whether features fill their space, how near they are to the tower's, and what they say of ratings.",
          summary_table(findings)) +
          report::section("Singular spectra", "Of the pooled features of all pictures.",
                          legend(findings) + report::cards(spectrum_chart(findings))) +
          attention_section(findings) + affinity_section(findings) + probe_section(findings) + map_section(findings) +
          kDefinitions);
}

}  // namespace cskd::analysis
