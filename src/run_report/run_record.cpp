#include "run_report/run_record.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "config/reader.h"
#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::run_report {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kLargestDocument = std::uint64_t{1} << 28;

// Does what may fail for a file that is damaged, or changes just now, and tells so.
void attempt(std::vector<std::string>& troubles, const std::function<void()>& read) {
  try {
    read();
  } catch (const runtime::Error& error) {
    troubles.push_back(fmt::format("{}", fmt::join(runtime::messages(error), ": ")));
  } catch (const nlohmann::json::exception& error) {
    troubles.emplace_back(error.what());
  }
}

bool is_file(const std::filesystem::path& path) {
  std::error_code failure;
  return std::filesystem::is_regular_file(path, failure);
}

void read_stage(RunRecord& run, const stages::Stage& stage) {
  StageRecord record{.stage = stage, .folder = run.folder.stage(stage.id()), .completion = {}, .metrics = {}};
  attempt(run.troubles, [&] { record.completion = run::recorded_completion(record.folder); });
  if (stage.entry->training != nullptr) attempt(run.troubles, [&] { record.metrics = read_metrics(record.folder); });
  if (record.metrics.damaged_lines > 0) {
    run.troubles.push_back(fmt::format("{}: {} lines are no records of a step",
                                       (record.folder / "metrics.jsonl").native(), record.metrics.damaged_lines));
  }
  if (stage.entry->judges && record.completion) {
    attempt(run.troubles, [&] { run.results = evaluation::read_results(record.folder); });
    attempt(run.troubles, [&] { run.predictions = evaluation::read_predictions(record.folder); });
  }
  run.stages.push_back(std::move(record));
}

// `folder` has its place already, wherever the configuration wanted it.
RunRecord read_run(std::string name, config::Config config, run::RunFolder folder) {
  RunRecord run{.name = std::move(name), .config = std::move(config), .folder = std::move(folder)};
  for (const stages::Stage& stage : stages::graph(run.config)) read_stage(run, stage);
  if (is_file(report::status_path(run.folder.root)))
    attempt(run.troubles, [&] { run.status = report::read_status(run.folder.root); });
  const std::filesystem::path analysis = run.folder.root / "analyze/analysis.json";
  if (is_file(analysis)) {
    attempt(run.troubles, [&] {
      std::string text = runtime::read_text_file(analysis, kLargestDocument);
      if (Json::parse(text).at("version") != 1)
        throw runtime::DataError(fmt::format("{} is of another version", analysis.native()));
      run.analysis = std::move(text);
    });
  }
  return run;
}

config::Config read_config(const std::filesystem::path& file) { return config::load_config(file, {}); }

std::string sweep_name(const Json& values) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : values.items()) parts.push_back(key + "=" + value.get<std::string>());
  return fmt::format("{}", fmt::join(parts, ", "));
}

void read_sweep(const std::filesystem::path& folder, const std::string& name, Records& records) {
  const std::filesystem::path file = folder / "sweep.json";
  const std::string text = runtime::read_text_file(file, kLargestDocument);
  records.sweeps.push_back({.name = name, .table = evaluation::parse_sweep_table(text, file.native())});
  try {
    const Json document = Json::parse(text);
    if (document.at("members").empty()) throw runtime::DataError(fmt::format("{}: it has no members", file.native()));
    for (const Json& member : document.at("members")) {
      run::RunFolder place{.root = folder, .elsewhere = {}};
      for (const auto& [stage, below] : member.at("results").items())
        place.elsewhere[stage] = folder / below.get<std::string>();
      records.runs.push_back(read_run(sweep_name(member.at("values")),
                                      read_config(folder / member.at("configuration").get<std::string>()),
                                      std::move(place)));
    }
  } catch (const Json::exception& error) {
    throw runtime::DataError(fmt::format("{} is damaged: {}", file.native(), error.what()));
  }
}

void read_folder(const std::filesystem::path& folder, Records& records) {
  std::error_code failure;
  if (!std::filesystem::is_directory(folder, failure)) {
    throw runtime::UsageError(fmt::format(
        "{} is no run folder: expected a run, a sweep, or the configuration of one that was started", folder.native()));
  }
  const std::string name = std::filesystem::weakly_canonical(folder).filename().native();
  const bool is_sweep = is_file(folder / "sweep.json");
  if (!is_sweep && !is_file(folder / "config.toml")) {
    throw runtime::UsageError(
        fmt::format("{} holds neither config.toml nor sweep.json: it is no run folder, or its sweep has not ended",
                    folder.native()));
  }
  if (is_file(folder / "config.toml"))
    records.runs.push_back(read_run(name, read_config(folder / "config.toml"), {.root = folder, .elsewhere = {}}));
  if (is_sweep) read_sweep(folder, name, records);
}

}  // namespace

const StageRecord* RunRecord::find(const std::string& id) const {
  const auto found = std::ranges::find(stages, id, &StageRecord::id);
  return found == stages.end() ? nullptr : &*found;
}

double RunRecord::seconds() const {
  double seconds = 0;
  for (const StageRecord& stage : stages) seconds += stage.completion ? stage.completion->seconds : 0;
  return seconds;
}

Records read_records(const std::vector<std::filesystem::path>& folders) {
  Records records;
  for (const std::filesystem::path& folder : folders) read_folder(folder, records);
  std::map<std::string, int> uses;
  for (const RunRecord& run : records.runs) ++uses[run.name];
  for (RunRecord& run : records.runs) {
    if (uses[run.name] > 1) run.name = fmt::format("{} ({})", run.name, run.folder.root.native());
  }
  return records;
}

}  // namespace cskd::run_report
