#include "run_report/result_sections.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/html_page.h"
#include "report/html_text.h"
#include "report/number_text.h"
#include "report/plot.h"

namespace cskd::run_report {
namespace {

using report::figure_text;

std::string cell(const metrics::Estimate& estimate, int digits = 3) {
  const bool has_interval = std::isfinite(estimate.low) && estimate.high > estimate.low;
  return fmt::format("<td>{}{}</td>", figure_text(estimate.value, digits),
                     has_interval ? fmt::format("<small>{}\u2026{}</small>", figure_text(estimate.low, digits),
                                                figure_text(estimate.high, digits))
                                  : "");
}

std::string row_head(const std::string& name, const std::string& below, int series = -1) {
  return fmt::format(
      "<th scope=\"row\">{}{}{}</th>",
      series < 0 ? "" : fmt::format("<span class=\"swatch s{}\"></span>", series % report::kSeriesColours),
      report::breakable(name), below.empty() ? "" : fmt::format("<small>{}</small>", report::html_escaped(below)));
}

std::string scores_cells(const metrics::Scores& scores) {
  return cell(scores.srcc) + cell(scores.plcc) + cell(scores.krcc) + cell(scores.accuracy) + cell(scores.emd) +
         cell(scores.mse) + cell(scores.std_plcc);
}

const std::string& score_columns() {
  static const std::string columns = report::column("model") + report::column("SRCC") + report::column("PLCC") +
                                     report::column("KRCC") + report::column("accuracy") +
                                     report::column("EMD", "lower is better") +
                                     report::column("MSE", "lower is better") + report::column("std, PLCC");
  return columns;
}

std::string scores_table(const evaluation::Results& results) {
  std::string rows;
  for (std::size_t i = 0; i < results.models.size(); ++i) {
    const evaluation::ModelResult& model = results.models[i];
    rows += fmt::format(
        "<tr>{}{}</tr>",
        row_head(model.model, fmt::format("{:.4g} % of the labels", 100 * model.label_fraction), static_cast<int>(i)),
        scores_cells(model.scores));
    for (const auto& [source, scores] : model.by_source)
      rows += fmt::format("<tr class=\"sub\">{}{}</tr>", row_head(source, fmt::format("{} pictures", scores.n)),
                          scores_cells(scores));
  }
  return report::table(score_columns(), rows);
}

std::string sentences(const evaluation::Results& results) {
  std::string html;
  for (const evaluation::ModelResult& model : results.models) {
    if (model.scores.constant) {
      html += fmt::format("<p>{} gave every picture the same score, {}: there is no correlation.</p>",
                          report::html_escaped(model.model), figure_text(*model.scores.constant, 3));
    }
    if (!model.fidelity) continue;
    const evaluation::Fidelity& fidelity = *model.fidelity;
    html += fmt::format("<p>{} repeats {} with SRCC {} ({}\u2026{})", report::html_escaped(model.model),
                        report::html_escaped(fmt::format("{}", fmt::join(fidelity.teachers, " and "))),
                        figure_text(fidelity.srcc.value, 3), figure_text(fidelity.srcc.low, 3),
                        figure_text(fidelity.srcc.high, 3));
    if (fidelity.teachers_srcc.value > 0 && std::isfinite(model.scores.srcc.value)) {
      html += fmt::format(", and keeps {:.0f} % of {} SRCC of {}",
                          100 * model.scores.srcc.value / fidelity.teachers_srcc.value,
                          fidelity.teachers.size() == 1 ? "its teacher's" : "its teachers'",
                          figure_text(fidelity.teachers_srcc.value, 3));
    }
    html += ".</p>";
  }
  return html;
}

report::Axis srcc_axis(const std::vector<report::IntervalRow>& rows) {
  double low = 0;
  double high = 0.1;
  for (const report::IntervalRow& row : rows) {
    for (const report::Interval& value : row.values) {
      for (const double end : {value.value, value.low, value.high}) {
        if (!std::isfinite(end)) continue;
        low = std::min(low, end);
        high = std::max(high, end);
      }
    }
  }
  return report::axis_between(low, high, "SRCC");
}

report::IntervalRow interval_row(const std::string& label, int series, const metrics::Estimate& estimate) {
  return {.label = label,
          .series = series,
          .values = {{.value = estimate.value,
                      .low = estimate.low,
                      .high = estimate.high,
                      .title = fmt::format("{}: {:.3f} [{:.3f}, {:.3f}]", label, estimate.value, estimate.low,
                                           estimate.high)}}};
}

std::string srcc_card(const std::string& heading, const std::vector<report::IntervalRow>& rows) {
  return report::card(heading, "With 95 % intervals over test pictures.",
                      report::interval_plot(rows, srcc_axis(rows), heading));
}

std::string difference_card(const std::vector<evaluation::ModelDifference>& differences) {
  if (differences.empty()) return "";
  std::vector<report::IntervalRow> rows;
  for (std::size_t i = 0; i < differences.size(); ++i)
    rows.push_back(
        interval_row("\u2212 " + differences[i].second, static_cast<int>(i) + 1, differences[i].difference.srcc));
  return report::card(fmt::format("{} minus another model", differences.front().first),
                      "Difference of SRCC on the same pictures: better where the interval lies right of zero.",
                      report::interval_plot(rows, srcc_axis(rows), "Paired differences of SRCC"));
}

// Few enough for a page: evenly over all of them.
std::vector<std::size_t> sample_of(std::size_t count) {
  constexpr std::size_t kMostDots = 600;
  std::vector<std::size_t> numbers(std::min(count, kMostDots));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = i * count / numbers.size();
  return numbers;
}

std::string agreement_card(const std::string& name, const evaluation::PredictedMeans& model, int series) {
  const auto [least, most] = std::ranges::minmax(model.rated);
  const auto [low, high] = std::ranges::minmax(model.predicted);
  const double from = std::min(least, low);
  const double to = std::max(most, high);
  report::Plot plot(report::axis_between(from, to, "rated"), report::axis_between(from, to, "predicted"));
  plot.rule({from, from}, {to, to});
  const std::vector<std::size_t> shown = sample_of(model.rated.size());
  for (const std::size_t i : shown) plot.dot({model.rated[i], model.predicted[i]}, series, "");
  return report::card(name,
                      shown.size() < model.rated.size()
                          ? fmt::format("{} of {} pictures.", shown.size(), model.rated.size())
                          : fmt::format("{} pictures.", shown.size()),
                      plot.svg("Predicted over rated mean scores of " + name));
}

std::string picture_row(const std::string& heading, const std::vector<ShownPicture>& pictures) {
  std::string html;
  for (const ShownPicture& picture : pictures) {
    const std::string key = report::html_escaped(picture.key);
    html += fmt::format("<figure>{}<figcaption><b>{}</b> rated {}<bdi title=\"{}\">{}</bdi></figcaption></figure>",
                        picture.jpeg.empty() ? std::string("<div class=\"absent\">not shown</div>")
                                             : fmt::format("<img src=\"{}\" alt=\"{}\">",
                                                           report::data_uri("image/jpeg", picture.jpeg), key),
                        figure_text(picture.predicted, 2), figure_text(picture.rated, 2), key, key);
  }
  return fmt::format("<h3 class=\"run\">{}</h3><div class=\"photos\">{}</div>", report::html_escaped(heading), html);
}

}  // namespace

std::string evaluation_section(const std::vector<RunRecord>& runs) {
  std::string html;
  const auto judged = std::ranges::count_if(runs, [](const RunRecord& run) { return run.results.has_value(); });
  std::vector<report::IntervalRow> firsts;
  std::string splits;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const RunRecord& run = runs[r];
    if (!run.results || run.results->models.empty()) continue;
    const evaluation::Results& results = *run.results;
    const std::string split = fmt::format("{} test pictures, split {}",
                                          report::with_commas(static_cast<std::int64_t>(results.split.pictures)),
                                          results.split.hash.substr(0, 8));
    if (splits.find(split) == std::string::npos) splits += (splits.empty() ? "" : "; ") + split;
    std::vector<report::IntervalRow> rows;
    for (std::size_t i = 0; i < results.models.size(); ++i)
      rows.push_back(interval_row(results.models[i].model, static_cast<int>(i), results.models[i].scores.srcc));
    firsts.push_back(interval_row(run.name, static_cast<int>(r), results.models.front().scores.srcc));
    const std::string whole = scores_table(results) + sentences(results) +
                              report::cards(srcc_card("SRCC", rows) + difference_card(results.differences));
    html += judged > 1 ? report::details(fmt::format("{}: {} models", run.name, results.models.size()), whole) : whole;
  }
  if (html.empty()) return report::section("Evaluation", "No model has been evaluated.", "");
  if (judged > 1) html = report::cards(srcc_card("The first model of each run", firsts)) + html;
  return report::section("Evaluation", "Agreement with people's ratings. " + splits + ".", html);
}

std::string sweep_section(const SweepRecord& sweep) {
  const evaluation::SweepTable& table = sweep.table;
  std::string rows;
  std::vector<report::IntervalRow> intervals;
  std::vector<report::IntervalRow> differences;
  std::vector<std::string> models;
  for (const evaluation::SweepRow& row : table.rows) {
    if (std::ranges::find(models, row.model) == models.end()) models.push_back(row.model);
    const auto series = static_cast<int>(std::ranges::find(models, row.model) - models.begin());
    std::vector<std::string> seeds;
    for (const double value : row.srcc_by_seed) seeds.push_back(figure_text(value, 3));
    rows += fmt::format("<tr>{}{}{}<td>{}</td></tr>", row_head(row.model, row.point, series), cell(row.srcc),
                        cell(row.plcc), report::html_escaped(fmt::format("{}", fmt::join(seeds, " "))));
    intervals.push_back(
        interval_row(row.point.empty() ? row.model : fmt::format("{}, {}", row.model, row.point), series, row.srcc));
  }
  for (const evaluation::SweepDifference& each : table.differences)
    differences.push_back(interval_row("\u2212 " + each.second, static_cast<int>(differences.size()) + 1, each.srcc));
  std::string html =
      report::table(report::column("model") + report::column("SRCC") + report::column("PLCC") +
                        report::column("SRCC of each seed"),
                    rows) +
      report::cards(report::card("SRCC", "Means over seeds, with 95 % intervals over seeds and test pictures.",
                                 report::interval_plot(intervals, srcc_axis(intervals), "SRCC of the sweep")) +
                    (differences.empty()
                         ? ""
                         : report::card(fmt::format("{} minus another", table.differences.front().first),
                                        "Paired over seeds and pictures: better where the interval lies right of zero.",
                                        report::interval_plot(differences, srcc_axis(differences),
                                                              "Paired differences of the sweep"))));
  return report::section(fmt::format("Sweep {}", sweep.name),
                         fmt::format("{} seed{}: {}.", table.seeds.size(), table.seeds.size() == 1 ? "" : "s",
                                     fmt::join(table.seeds, ", ")),
                         html);
}

std::string agreement_section(const std::vector<RunRecord>& runs) {
  std::string html;
  const auto predicted = std::ranges::count_if(runs, [](const RunRecord& run) { return !run.predictions.empty(); });
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const RunRecord& run = runs[r];
    for (std::size_t i = 0; i < run.predictions.size() && (predicted == 1 || i == 0); ++i) {
      const evaluation::PredictedMeans& model = run.predictions[i];
      if (model.rated.empty()) continue;
      html += agreement_card(predicted == 1 ? model.model : fmt::format("{}: {}", run.name, model.model), model,
                             static_cast<int>(predicted == 1 ? i : r));
    }
  }
  if (html.empty()) return "";
  return report::section("Predicted and rated", "Mean scores of test pictures. On the line both agree.",
                         report::cards(html));
}

std::string picture_section(const RunRecord& run, const ShownPictures& pictures) {
  if (pictures.best.empty()) return "";
  return report::section(
      "Test pictures",
      fmt::format("As {} of {} sees them: its score, then what people gave.", run.predictions.front().model, run.name),
      picture_row("Best", pictures.best) + picture_row("Worst", pictures.worst) +
          picture_row("Most wrong", pictures.most_wrong));
}

}  // namespace cskd::run_report
