#include "analysis/page_charts.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "report/html_page.h"
#include "report/plot.h"

namespace cskd::analysis {
namespace {

constexpr std::size_t kMostSpectrumPoints = 160;
constexpr double kLeastShown = 1e-6;  // of singular values, of the first

double mean_of_heads(const LayerFigures& layer, double HeadFigures::*figure) {
  double sum = 0;
  for (const HeadFigures& head : layer.heads) sum += head.*figure;
  return sum / static_cast<double>(layer.heads.size());
}

// Calls use(model, its series) for those with attention.
void for_each_with_attention(const Findings& findings, const std::function<void(const ModelFindings&, int)>& use) {
  for (std::size_t i = 0; i < findings.models.size(); ++i) {
    if (!findings.models[i].layers.empty()) use(findings.models[i], static_cast<int>(i));
  }
}

report::Axis share_axis(std::string label) {
  return {.low = 0,
          .high = 1,
          .ticks = {{0, "0"}, {0.25, "0.25"}, {0.5, "0.5"}, {0.75, "0.75"}, {1, "1"}},
          .label = std::move(label)};
}

report::Axis depth_axis() {
  return {.low = 0, .high = 1, .ticks = {{0, "first"}, {0.5, "middle"}, {1, "last"}}, .label = "layer"};
}

// A layer's place between the first and the last one.
double depth_of(const ModelFindings& model, std::size_t layer) {
  return model.layers.size() < 2 ? 1 : static_cast<double>(layer) / static_cast<double>(model.layers.size() - 1);
}

// A line over depth for each model with attention, with the range of heads where there is one.
std::string depth_chart(const Findings& findings, report::Axis y, const std::string& description,
                        const std::function<std::vector<double>(const LayerFigures&)>& values_of) {
  report::Plot plot(depth_axis(), std::move(y));
  for_each_with_attention(findings, [&](const ModelFindings& model, int series) {
    std::vector<report::Point> mean;
    std::vector<report::Point> low;
    std::vector<report::Point> high;
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
      const std::vector<double> values = values_of(model.layers[i]);
      const auto [least, most] = std::ranges::minmax(values);
      double sum = 0;
      for (const double value : values) sum += value;
      const double x = depth_of(model, i);
      mean.push_back({x, sum / static_cast<double>(values.size())});
      low.push_back({x, least});
      high.push_back({x, most});
    }
    plot.band(low, high, series);
    plot.line(mean, series, model.name);
    for (std::size_t i = 0; i < mean.size(); ++i) {
      plot.dot(mean[i], series, fmt::format("{}, layer {}: {:.3f}", model.name, model.layers[i].layer + 1, mean[i].y));
    }
  });
  return plot.svg(description);
}

}  // namespace

std::string distance_charts(const Findings& findings) {
  double most = 0;
  for_each_with_attention(findings, [&](const ModelFindings& model, int) {
    for (const LayerFigures& layer : model.layers) {
      for (const HeadFigures& head : layer.heads) most = std::max(most, head.distance);
    }
  });
  std::string html;
  for_each_with_attention(findings, [&](const ModelFindings& model, int series) {
    report::Plot plot(report::layer_axis(static_cast<int>(model.layers.size())),
                      report::axis_from_zero(most, "distance / diagonal"));
    std::vector<report::Point> means;
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
      const LayerFigures& layer = model.layers[i];
      const double x = static_cast<double>(i) + 1;
      for (std::size_t head = 0; head < layer.heads.size(); ++head) {
        const HeadFigures& figures = layer.heads[head];
        plot.dot({x, figures.distance}, series,
                 fmt::format("layer {}, head {}: {:.3f} ({:.0f} pixels), between pictures \u00b1{:.3f}", i + 1,
                             head + 1, figures.distance, figures.distance_pixels, figures.distance_std));
      }
      means.push_back({x, mean_of_heads(layer, &HeadFigures::distance)});
    }
    plot.line(means, series, "mean of heads");
    html += report::card(
        model.name,
        fmt::format("{}, {} layers, {} heads", model.encoder, model.layers.size(), model.layers.back().heads.size()),
        plot.svg(fmt::format("Attention distance of {} over layers, a dot for each head", model.name)));
  });
  return html;
}

std::string entropy_chart(const Findings& findings) {
  return report::card("Attention entropy", "Mean of heads; the band spans all heads. 1: all patches get the same.",
                      depth_chart(findings, share_axis("entropy / log N"), "Attention entropy of models over depth",
                                  [](const LayerFigures& layer) {
                                    std::vector<double> values;
                                    for (const HeadFigures& head : layer.heads) values.push_back(head.entropy_share);
                                    return values;
                                  }));
}

std::string similarity_chart(const Findings& findings) {
  return report::card(
      "Likeness of heads", "Mean cosine of the maps of two heads. Lower: heads differ more.",
      depth_chart(findings, share_axis("cosine of heads"), "Cosine of the maps of heads, of models over depth",
                  [](const LayerFigures& layer) { return std::vector<double>{layer.head_similarity}; }));
}

std::string spectrum_chart(const Findings& findings) {
  std::size_t most = 1;
  for (const ModelFindings& model : findings.models) most = std::max(most, model.collapse.singular_values.size());
  report::Axis x = report::axis_from_zero(static_cast<double>(most), "singular value");
  x.high = static_cast<double>(most);
  std::erase_if(x.ticks, [&](const auto& tick) { return tick.first > x.high; });
  report::Axis y{.low = std::log10(kLeastShown), .high = 0, .ticks = {}, .label = "of the first, log scale"};
  for (int power = -6; power <= 0; power += 2)
    y.ticks.emplace_back(power, power == 0 ? "1" : fmt::format("1e{}", power));
  report::Plot plot(x, y);
  for (std::size_t i = 0; i < findings.models.size(); ++i) {
    const std::vector<double>& values = findings.models[i].collapse.singular_values;
    const std::size_t step = std::max<std::size_t>(1, values.size() / kMostSpectrumPoints);
    std::vector<report::Point> points;
    for (std::size_t k = 0; k < values.size(); k += step) {
      const double share = values[k] / values.front();
      points.push_back({static_cast<double>(k) + 1,
                        share >= kLeastShown ? std::log10(share) : std::numeric_limits<double>::quiet_NaN()});
    }
    plot.line(points, static_cast<int>(i), findings.models[i].name);
  }
  return report::card(
      "Singular spectrum", "A line that falls early: few directions hold most of the features.",
      plot.svg("Singular values of the features of models, divided by the first, on a logarithmic scale"));
}

std::string affinity_charts(const Findings& findings) {
  std::vector<report::IntervalRow> distances;
  std::vector<report::IntervalRow> entropies;
  double most = 0;
  for (std::size_t i = 0; i < findings.models.size(); ++i) {
    const ModelFindings& model = findings.models[i];
    if (!model.affinity) continue;
    const HeadFigures& figures = model.affinity->figures;
    most = std::max(most, figures.distance + figures.distance_std);
    const auto row = [&](double value, double deviation, const char* what) {
      return report::IntervalRow{
          .label = model.name,
          .series = static_cast<int>(i),
          .values = {{.value = value,
                      .low = value - deviation,
                      .high = value + deviation,
                      .title = fmt::format("{}: {} {:.3f} on a grid of {} x {}", model.name, what, value,
                                           model.affinity->grid, model.affinity->grid)}}};
    };
    const double scale = figures.entropy > 0 ? figures.entropy_share / figures.entropy : 0;
    distances.push_back(row(figures.distance, figures.distance_std, "distance"));
    entropies.push_back(row(figures.entropy_share, figures.entropy_std * scale, "entropy"));
  }
  if (distances.empty()) return "";
  return report::card("Affinity distance", "Whiskers: standard deviation between pictures.",
                      report::interval_plot(distances, report::axis_from_zero(most, "distance / diagonal"),
                                            "Affinity distance of the models")) +
         report::card(
             "Affinity entropy", "1: a token is equally near to all others.",
             report::interval_plot(entropies, share_axis("entropy / log (N - 1)"), "Affinity entropy of the models"));
}

std::string probe_charts(const Findings& findings) {
  std::set<double, std::greater<>> fractions;
  double least = 0;
  double most = 0;
  for (const ModelFindings& model : findings.models) {
    for (const ProbeFigures& probe : model.probes) {
      if (!probe.reason.empty()) continue;
      fractions.insert(probe.fraction);
      for (const metrics::Estimate* figure : {&probe.linear_srcc, &probe.neighbour_srcc}) {
        if (std::isfinite(figure->low)) least = std::min(least, figure->low);
        if (std::isfinite(figure->high)) most = std::max(most, figure->high);
      }
    }
  }
  const report::Axis axis = report::axis_between(least, most, "SRCC");
  std::string html;
  for (const double fraction : fractions) {
    std::vector<report::IntervalRow> rows;
    std::uint64_t labels = 0;
    for (std::size_t i = 0; i < findings.models.size(); ++i) {
      for (const ProbeFigures& probe : findings.models[i].probes) {
        if (probe.fraction != fraction || !probe.reason.empty()) continue;
        labels = probe.labels;
        const auto interval = [&](const metrics::Estimate& figure, bool is_hollow, const char* what) {
          return report::Interval{.value = figure.value,
                                  .low = figure.low,
                                  .high = figure.high,
                                  .is_hollow = is_hollow,
                                  .title = fmt::format("{}, {}: {:.3f} [{:.3f}, {:.3f}]", findings.models[i].name, what,
                                                       figure.value, figure.low, figure.high)};
        };
        rows.push_back({.label = findings.models[i].name,
                        .series = static_cast<int>(i),
                        .values = {interval(probe.linear_srcc, false, "linear probe"),
                                   interval(probe.neighbour_srcc, true, "nearest neighbours")}});
      }
    }
    html += report::card(fmt::format("{:.4g} % of the labels", 100 * fraction),
                         fmt::format("{} labels. Filled: linear probe. Hollow: nearest neighbours.", labels),
                         report::interval_plot(rows, axis, fmt::format("SRCC of the models with {} labels", labels)));
  }
  return html;
}

std::string legend(const Findings& findings) {
  std::vector<report::LegendEntry> entries;
  for (std::size_t i = 0; i < findings.models.size(); ++i)
    entries.push_back({findings.models[i].name, static_cast<int>(i)});
  return report::legend(entries);
}

std::string attention_legend(const Findings& findings) {
  std::vector<report::LegendEntry> entries;
  for_each_with_attention(findings, [&](const ModelFindings& model, int series) {
    entries.push_back({model.name, series});
  });
  return report::legend(entries);
}

}  // namespace cskd::analysis
