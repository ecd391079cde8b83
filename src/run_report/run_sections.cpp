#include "run_report/run_sections.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "config/toml_writer.h"
#include "report/html_page.h"
#include "report/html_text.h"
#include "report/number_text.h"
#include "report/plot.h"
#include "run_report/graph_drawing.h"

namespace cskd::run_report {
namespace {

using Json = nlohmann::ordered_json;
using report::figure_text;
using report::html_escaped;

std::string tile(const std::string& what, const std::string& value, const std::string& below) {
  return fmt::format("<div class=\"tile\"><span>{}</span><b>{}</b><small>{}</small></div>", html_escaped(what),
                     html_escaped(value), html_escaped(below));
}

// The corpus's facts, of the stage that makes it; null where there is none yet.
Json corpus_facts(const RunRecord& run) {
  for (const StageRecord& stage : run.stages) {
    if (stage.stage.entry->makes_corpus && stage.completion)
      return Json::parse(stage.completion->facts, nullptr, /*allow_exceptions=*/false);
  }
  return nullptr;
}

std::int64_t count_in(const Json& facts, const char* key) {
  return facts.is_object() && facts.contains(key) && facts[key].is_number_integer() ? facts[key].get<std::int64_t>()
                                                                                    : 0;
}

std::vector<std::string> capsules_of(const StageRecord& stage) {
  std::vector<std::string> found;
  std::error_code failure;
  for (std::filesystem::directory_iterator entry(stage.folder / "capsules", failure), end; !failure && entry != end;
       entry.increment(failure))
    found.push_back(entry->path().native());
  std::ranges::sort(found);
  return found;
}

double total_of(const StageRecord& stage, const char* figure) {
  const Curve* curve = stage.metrics.find(figure);
  return curve == nullptr || curve->values.empty() ? 0 : *std::ranges::max_element(curve->values);
}

std::vector<std::string> warnings_of(const RunRecord& run) {
  std::vector<std::string> warnings;
  if (run.status) {
    if (run.status->state == report::RunState::kFailed)
      warnings.push_back(fmt::format("The last start failed in {}: {}", run.status->stage, run.status->message));
    if (run.status->state == report::RunState::kRunning)
      warnings.push_back(fmt::format("It runs just now, or ended without a word: {} at {} of {}", run.status->stage,
                                     run.status->step, run.status->steps));
    if (run.status->skipped_steps > 0)
      warnings.push_back(
          fmt::format("{} steps were left out: their gradients were not finite", run.status->skipped_steps));
    for (const std::string& warning : run.status->warnings) warnings.push_back(warning);
  }
  std::vector<std::string> missing;
  for (const StageRecord& stage : run.stages) {
    if (!stage.completion) missing.push_back(stage.id());
    const double damaged = total_of(stage, "data/damaged");
    if (damaged > 0) warnings.push_back(fmt::format("{}: {:.0f} uses of damaged images", stage.id(), damaged));
    for (const std::string& capsule : capsules_of(stage))
      warnings.push_back(fmt::format("{}: a step went wrong, see cskd replay {}", stage.id(), capsule));
  }
  if (!missing.empty()) warnings.push_back(fmt::format("Not complete: {}", fmt::join(missing, ", ")));
  const Json facts = corpus_facts(run);
  if (count_in(facts, "quarantined") > 0)
    warnings.push_back(fmt::format("{} faulty images were left out of the corpus (quarantine.jsonl)",
                                   report::with_commas(count_in(facts, "quarantined"))));
  if (run.results) {
    for (const evaluation::ModelResult& model : run.results->models) {
      if (model.scores.srcc.low <= 0 && model.scores.srcc.high >= 0)
        warnings.push_back(fmt::format("{} cannot be told from chance: its SRCC is {} ({} to {})", model.model,
                                       figure_text(model.scores.srcc.value, 3), figure_text(model.scores.srcc.low, 3),
                                       figure_text(model.scores.srcc.high, 3)));
    }
    if (run.results->split.pictures < 100)
      warnings.push_back(
          fmt::format("The test split has only {} images: intervals are wide", run.results->split.pictures));
  }
  warnings.insert(warnings.end(), run.troubles.begin(), run.troubles.end());
  return warnings;
}

double number_in(const Json& value) {
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

std::string analysis_row(const Json& model) {
  std::string row = fmt::format("<tr><th scope=\"row\">{}<small>{}{}</small></th>",
                                report::breakable(model.at("model").get<std::string>()),
                                html_escaped(model.at("encoder").get<std::string>()),
                                model.at("is_trained").get<bool>() ? "" : ", random weights");
  row += fmt::format(
      "<td>{}<small>of {}</small></td><td>{}</td><td>{}</td>", figure_text(number_in(model.at("rank_me")), 1),
      figure_text(number_in(model.at("rank_me_limit")), 0), figure_text(number_in(model.at("direction_std")), 4),
      figure_text(number_in(model.at("uniformity")), 3));
  for (const auto& [tower, value] : model.at("cka").items())
    row += fmt::format("<td>{}</td>", figure_text(number_in(value), 3));
  const Json& probes = model.at("probes");
  if (probes.empty() || !probes[0].at("linear_srcc").is_object()) return row + "<td>\u2013</td></tr>";
  const Json& srcc = probes[0].at("linear_srcc");
  return row + fmt::format("<td>{}<small>{}\u2026{}</small></td></tr>", figure_text(number_in(srcc.at("value")), 3),
                           figure_text(number_in(srcc.at("low")), 3), figure_text(number_in(srcc.at("high")), 3));
}

std::string differing_settings(const std::vector<RunRecord>& runs) {
  std::map<std::string, std::map<std::size_t, std::string>> values;
  std::vector<std::string> order;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    for (auto& [key, value] : config::settings_of(runs[r].config, "")) {
      if (!values.contains(key)) order.push_back(key);
      values[key][r] = value;
    }
  }
  std::string rows;
  for (const std::string& key : order) {
    const std::map<std::size_t, std::string>& of_runs = values[key];
    const bool is_same = of_runs.size() == runs.size() && std::ranges::all_of(of_runs, [&](const auto& each) {
                           return each.second == of_runs.begin()->second;
                         });
    if (is_same) continue;
    rows += fmt::format("<tr><th scope=\"row\">{}</th>", html_escaped(key));
    for (std::size_t r = 0; r < runs.size(); ++r) {
      const auto found = of_runs.find(r);
      rows += fmt::format("<td>{}</td>", found == of_runs.end() ? "\u2013" : html_escaped(found->second));
    }
    rows += "</tr>";
  }
  if (rows.empty()) return "<p>All settings are the same.</p>";
  std::string head = report::column("setting");
  for (const RunRecord& run : runs) head += report::column(run.name);
  return report::table(head, rows);
}

}  // namespace

std::string glance(const RunRecord& run) {
  if (!run.results || run.results->models.empty()) return "";
  const evaluation::ModelResult& model = run.results->models.front();
  std::string tiles = tile(model.model + ", SRCC", figure_text(model.scores.srcc.value, 3),
                           fmt::format("{} to {}, {} test images", figure_text(model.scores.srcc.low, 3),
                                       figure_text(model.scores.srcc.high, 3), model.scores.n));
  if (model.fidelity)
    tiles += tile("Fidelity to its teachers", figure_text(model.fidelity->srcc.value, 3),
                  fmt::format("SRCC; theirs with people: {}", figure_text(model.fidelity->teachers_srcc.value, 3)));
  const Json facts = corpus_facts(run);
  tiles += tile("Images packed", report::with_commas(count_in(facts, "packed")),
                fmt::format("{:.4g} % of the labels used", 100 * model.label_fraction));
  const std::string ranks =
      run.status ? fmt::format("{} rank{} at the last start", run.status->ranks, run.status->ranks == 1 ? "" : "s")
                 : "";
  tiles += tile("Time of all stages", report::duration_text(run.seconds()), ranks);
  return fmt::format("<div class=\"tiles\">{}</div>", tiles);
}

std::string warning_section(const std::vector<RunRecord>& runs) {
  std::string items;
  std::set<std::string> told;  // members of a sweep share stages, and what is wrong with them
  for (const RunRecord& run : runs) {
    for (const std::string& warning : warnings_of(run)) {
      if (!told.insert(warning).second) continue;
      items += fmt::format("<li>{}{}</li>", runs.size() > 1 ? fmt::format("<b>{}</b>: ", html_escaped(run.name)) : "",
                           html_escaped(warning));
    }
  }
  return report::section("Warnings", items.empty() ? "None." : "Read these before a figure.",
                         items.empty() ? "" : fmt::format("<ul class=\"warnings\">{}</ul>", items));
}

std::string graph_section(const std::vector<RunRecord>& runs) {
  std::string html;
  std::set<std::string> drawn;
  for (const RunRecord& run : runs) {
    std::string shape;
    for (const StageRecord& stage : run.stages)
      shape +=
          fmt::format("{}<{},{};", stage.id(), fmt::join(stage.stage.needs, ","), fmt::join(stage.stage.judged, ","));
    if (!drawn.insert(shape).second) continue;
    if (runs.size() > 1) html += fmt::format("<h3 class=\"run\">{}</h3>", html_escaped(run.name));
    html += graph_drawing(run);
  }
  const std::string note =
      drawn.size() < runs.size() ? " Runs whose graphs are alike are drawn once, with the first one's times." : "";
  return report::section("Graph", "Stages, what they read, and how long they took." + note, html);
}

std::string corpus_section(const RunRecord& run) {
  const Json facts = corpus_facts(run);
  if (!facts.is_object() || !facts.contains("sources") || !facts["sources"].is_array()) return "";
  constexpr const char* kCounts[] = {"packed",      "duplicates",  "near_duplicates", "leaked",
                                     "quarantined", "passed_over", "changed"};
  std::string rows;
  const auto add = [&](const std::string& name, const Json& counts) {
    rows += fmt::format("<tr><th scope=\"row\">{}</th>", html_escaped(name));
    for (const char* key : kCounts) rows += fmt::format("<td>{}</td>", report::with_commas(count_in(counts, key)));
    rows += "</tr>";
  };
  for (const Json& source : facts["sources"])
    add(source.is_object() && source.contains("name") && source["name"].is_string() ? source["name"].get<std::string>()
                                                                                    : "",
        source);
  add("all", facts);
  return report::section(
      fmt::format("Corpus of {}", run.name), "What packing made of the sources.",
      report::table(report::column("source") + report::column("packed") + report::column("duplicates") +
                        report::column("near duplicates") + report::column("leaked", "equal to test images") +
                        report::column("faulty") + report::column("passed over") + report::column("changed"),
                    rows));
}

std::string analysis_section(const RunRecord& run) {
  if (run.analysis.empty()) return "";
  try {
    const Json document = Json::parse(run.analysis);
    const Json& models = document.at("models");
    if (models.empty()) return "";
    std::string head = report::column("model") + report::column("RankMe") + report::column("std") +
                       report::column("uniformity", "lower is better");
    for (const auto& [tower, value] : models[0].at("cka").items()) head += report::column("CKA", tower);
    const Json& probes = models[0].at("probes");
    head += report::column(
        "probe, SRCC",
        probes.empty() ? "" : fmt::format("{:.4g} % of the labels", 100 * number_in(probes[0].at("fraction"))));
    std::string rows;
    for (const Json& model : models) rows += analysis_row(model);
    return report::section(fmt::format("Features of {}", run.name),
                           fmt::format("Of {} images, before and after; cskd analyze wrote the whole of it to {}.",
                                       document.at("pictures").at("measured").get<std::int64_t>(),
                                       (run.folder.root / "analyze/analysis.html").native()),
                           report::table(head, rows));
  } catch (const Json::exception& error) {
    return report::section(fmt::format("Features of {}", run.name),
                           fmt::format("The analysis is damaged: {}.", error.what()), "");
  }
}

std::string configuration_section(const std::vector<RunRecord>& runs) {
  std::string html;
  if (runs.size() > 1) html = differing_settings(runs);
  for (const RunRecord& run : runs) {
    html += report::details(fmt::format("Configuration of {}", run.name),
                            fmt::format("<pre>{}</pre>", html_escaped(config::to_toml(run.config))));
  }
  return report::section("Configuration",
                         runs.size() > 1 ? "What differs between runs, then the whole of each." : "With every default.",
                         html);
}

}  // namespace cskd::run_report
