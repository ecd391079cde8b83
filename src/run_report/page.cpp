#include "run_report/page.h"

#include <algorithm>
#include <chrono>

#include <ATen/Parallel.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/html_page.h"
#include "run_report/cost_sections.h"
#include "run_report/curve_sections.h"
#include "run_report/result_sections.h"
#include "run_report/run_sections.h"
#include "run_report/shown_pictures.h"

namespace cskd::run_report {
namespace {

constexpr const char* kReportStyle = R"css(
.scroll + p { margin-top: 12px; }
h3.run { margin: 22px 0 4px; }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 200px), 1fr)); margin-top: 18px; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 14px; }
.tile span, .tile small { display: block; color: var(--soft); font-size: .85rem; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.warnings { padding-left: 1.2em; max-width: 90ch; }
.box { fill: var(--card); stroke: var(--s0); stroke-width: 1.4; } .box.open { stroke: var(--soft); stroke-dasharray: 4 3; }
.arrow { fill: none; stroke: var(--soft); stroke-opacity: .55; stroke-width: 1.3; }
.graph { padding: 10px; } .graph svg { height: auto; }
tr.sub th, tr.sub td { font-size: .85rem; color: var(--soft); } tr.sub th { padding-left: 28px; }
.photos { display: grid; gap: 10px; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); }
.photos figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; overflow: hidden; }
.photos img, .absent { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: var(--paper); }
.absent { display: grid; place-items: center; color: var(--soft); font-size: .85rem; }
.photos figcaption { padding: 5px 8px 7px; font-size: .85rem; font-variant-numeric: tabular-nums; }
.photos bdi { display: block; color: var(--soft); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px; font-size: .8rem; line-height: 1.45; overflow-wrap: normal; }
)css";

std::string names_of(const Records& records) {
  std::vector<std::string> names;
  for (const SweepRecord& sweep : records.sweeps) names.push_back(fmt::format("sweep {}", sweep.name));
  if (records.sweeps.empty()) {
    for (const RunRecord& run : records.runs) names.push_back(run.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::string to_page(Records& records, const ReportOptions& options) {
  std::vector<RunRecord>& runs = records.runs;
  std::string pictures;
  std::string latencies;
  const auto judged = std::ranges::find_if(runs, [](const RunRecord& run) { return !run.predictions.empty(); });
  if (judged != runs.end()) pictures = picture_section(*judged, shown_pictures(*judged, options.pictures));
  if (options.measures_latency) latencies = latency_section(measure_latencies(runs), at::get_num_threads());
  std::string html = runs.size() == 1 ? glance(runs.front()) : "";
  html += warning_section(runs);  // behind what may add to them
  for (const SweepRecord& sweep : records.sweeps) html += sweep_section(sweep);
  html += evaluation_section(runs) + agreement_section(runs) + pictures + latencies + graph_section(runs);
  html += curve_sections(runs);
  for (const RunRecord& run : runs) html += analysis_section(run);
  const bool are_few = runs.size() <= 4;
  for (const RunRecord& run : runs) {
    if (are_few || &run == &runs.front()) html += cost_section(run);
  }
  html += corpus_section(runs.front()) + configuration_section(runs);
  const std::string names = names_of(records);
  return report::page(
      "cskd report: " + names, kReportStyle, "Report on " + names,
      fmt::format("{} run{}, read on {:%Y-%m-%d %H:%M} UTC by cskd {}.", runs.size(), runs.size() == 1 ? "" : "s",
                  fmt::gmtime(std::chrono::system_clock::now()), options.version),
      html);
}

}  // namespace cskd::run_report
