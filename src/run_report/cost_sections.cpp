#include "run_report/cost_sections.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include <ATen/Parallel.h>
#include <c10/core/Device.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiled/compiled_network.h"
#include "models/compute_settings.h"
#include "models/model_file.h"
#include "report/html_page.h"
#include "report/html_text.h"
#include "report/number_text.h"
#include "report/plot.h"
#include "runtime/error.h"
#include "training/model_cost.h"

namespace cskd::run_report {
namespace {

using report::figure_text;

std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:.1f} %", 100 * share) : "\u2013"; }

double last_of(const Curve* curve) {
  return curve == nullptr || curve->values.empty() ? std::nan("") : curve->values.back();
}

double mean_of_curve(const Curve* curve) { return curve == nullptr ? std::nan("") : mean_of(curve->values); }

std::string stage_row(const StageRecord& stage) {
  const MetricTable& metrics = stage.metrics;
  const double step = mean_of(metrics.step_seconds);
  const auto share = [&](const char* figure) { return mean_of_curve(metrics.find(figure)) / step; };
  std::string row = fmt::format("<tr><th scope=\"row\">{}</th>", report::breakable(stage.id()));
  if (!stage.completion) {
    row += "<td>not complete</td><td>\u2013</td><td>\u2013</td>";
  } else {
    const run::Completion& completion = *stage.completion;
    row +=
        fmt::format("<td>{}</td><td>{}</td><td>{}</td>", report::duration_text(completion.seconds),
                    report::with_commas(static_cast<std::int64_t>(completion.images)),
                    completion.seconds > 0
                        ? report::with_commas(std::llround(static_cast<double>(completion.images) / completion.seconds))
                        : "\u2013");
  }
  return row + fmt::format("<td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", percent(share("perf/data_wait")),
                           percent(share("perf/exposed_communication")),
                           percent(mean_of_curve(metrics.find("perf/overlap"))),
                           percent(last_of(metrics.find("perf/goodput"))));
}

}  // namespace

std::string cost_section(const RunRecord& run) {
  std::string rows;
  for (const StageRecord& stage : run.stages) rows += stage_row(stage);
  const double seconds = run.seconds();
  std::string note = fmt::format("{} in all", report::duration_text(seconds));
  if (run.status) {
    note += fmt::format("; the last start had {} rank{} on {}: {:.2f} rank-hours at that number", run.status->ranks,
                        run.status->ranks == 1 ? "" : "s", run.status->host, seconds * run.status->ranks / 3600);
  }
  return report::section(
      fmt::format("Time and throughput of {}", run.name), note + ".",
      report::table(report::column("stage") + report::column("time") + report::column("images") +
                        report::column("images/s") + report::column("waits for data", "of steps") +
                        report::column("waits for ranks", "of steps") + report::column("overlap", "of communication") +
                        report::column("goodput", "of the last start"),
                    rows));
}

std::vector<ModelLatency> measure_latencies(std::vector<RunRecord>& runs) {
  std::vector<ModelLatency> models;
  std::map<std::tuple<std::string, int, std::int64_t>, training::ModelCost> costs;
  for (RunRecord& run : runs) {
    if (!run.results) continue;
    for (const evaluation::ModelResult& result : run.results->models) {
      const StageRecord* stage = run.find(result.model);
      if (stage == nullptr) continue;
      try {
        const models::StoredModel stored = models::read_model(stage->folder / "model.safetensors");
        const std::tuple structure(stored.encoder, stored.image_size, stored.outputs);
        auto cost = costs.find(structure);
        if (cost == costs.end()) {
          const auto measured = training::measure_cost({.encoder = stored.encoder,
                                                        .image_size = stored.image_size,
                                                        .outputs = stored.outputs,
                                                        .batch = 1,
                                                        .trains_encoder = false},
                                                       models::ComputeSettings{}, at::Device(at::kCPU));
          cost = costs.emplace(structure, measured).first;
          // As cskd score computes it.
          if (const auto compiled =
                  compiled::seconds_of_one_image(stored.encoder, stored.image_size, at::get_num_threads()))
            cost->second.forward_seconds = *compiled;
        }
        models.push_back({.run = run.name,
                          .model = result.model,
                          .encoder = stored.encoder,
                          .image_size = stored.image_size,
                          .parameters = cost->second.parameters,
                          .seconds = cost->second.forward_seconds,
                          .srcc = result.scores.srcc});
      } catch (const runtime::Error& error) {
        run.troubles.push_back(fmt::format("the latency of {} was not measured: {}", result.model,
                                           fmt::join(runtime::messages(error), ": ")));
      }
    }
  }
  return models;
}

std::string latency_section(const std::vector<ModelLatency>& models, int threads) {
  if (models.empty()) return "";
  std::string rows;
  double slowest = 0;
  double low = 0;
  double high = 0.1;
  const bool are_of_one =
      std::ranges::all_of(models, [&](const ModelLatency& each) { return each.run == models[0].run; });
  for (const ModelLatency& model : models) {
    slowest = std::max(slowest, 1e3 * model.seconds);
    for (const double end : {model.srcc.low, model.srcc.high, model.srcc.value}) {
      if (std::isfinite(end)) low = std::min(low, end);
      if (std::isfinite(end)) high = std::max(high, end);
    }
    rows += fmt::format(
        "<tr><th scope=\"row\">{}<small>{}</small></th><td>{}<small>{} px</small></td><td>{:.2f}</td><td>{:.2f} M</td>"
        "<td>{}</td></tr>",
        report::breakable(model.model), are_of_one ? "" : report::html_escaped(model.run),
        report::html_escaped(model.encoder), model.image_size, 1e3 * model.seconds,
        static_cast<double>(model.parameters) / 1e6, figure_text(model.srcc.value, 3));
  }
  report::Plot plot(report::axis_from_zero(slowest * 1.05, "ms an image"), report::axis_between(low, high, "SRCC"));
  std::vector<report::LegendEntry> legend;
  for (std::size_t i = 0; i < models.size(); ++i) {
    const ModelLatency& model = models[i];
    const auto series = static_cast<int>(i);
    plot.whisker(1e3 * model.seconds, model.srcc.low, model.srcc.high, series);
    plot.dot({1e3 * model.seconds, model.srcc.value}, series, fmt::format("{} {}", model.run, model.model));
    legend.push_back({are_of_one ? model.model : fmt::format("{}: {}", model.run, model.model), series});
  }
  return report::section(
      "Accuracy over latency",
      fmt::format(
          "One image at a time through encoder and head on this machine's CPU, {} thread{}, reading and decoding "
          "left out.",
          threads, threads == 1 ? "" : "s"),
      report::cards(report::card("SRCC over latency", "Up and to the left is better.",
                                 plot.svg("SRCC over latency") + report::legend(legend))) +
          report::table(report::column("model") + report::column("encoder") + report::column("ms") +
                            report::column("parameters") + report::column("SRCC"),
                        rows));
}

}  // namespace cskd::run_report
