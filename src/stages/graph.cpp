#include "stages/graph.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/references.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/spelling.h"

namespace cskd::stages {
namespace {

using config::Reference;

bool is_weights(const std::string& table) { return table.starts_with("towers.") || table.starts_with("encoders."); }

// Of a stage, "align.student".
bool reads_caches(const config::Config& config, const std::string& stage) {
  const std::size_t dot = stage.find('.');
  const StageEntry& entry = stage_entry(stage.substr(0, dot));
  return entry.reads_caches != nullptr && entry.reads_caches(config, stage.substr(dot + 1));
}

// The stage that makes what a table refers to; "" where it is there from the start.
std::string need_of(const config::Config& config, const Stage& stage, const std::string& target) {
  if (!is_weights(target)) return target;
  if (!reads_caches(config, stage.id()) || !target.starts_with("towers.")) return "";
  return cache_of(target);
}

// "towers.clip" of the towers whose caches a stage reads without referring to them.
std::vector<std::string> other_caches(const config::Config& config, const StageEntry& entry, const std::string& name) {
  std::vector<std::string> towers;
  if (entry.caches_of == nullptr) return towers;
  for (const std::string& tower : entry.caches_of(config, name)) towers.push_back("towers." + tower);
  return towers;
}

bool is_read_by_others(const config::Config& config, const std::string& tower) {
  return std::ranges::any_of(stage_table(), [&](const StageEntry& entry) {
    if (entry.list == nullptr) return false;
    return std::ranges::any_of(config::tables_in(config, entry.list), [&](const std::string& name) {
      const std::vector<std::string> read = other_caches(config, entry, name);
      return std::ranges::find(read, tower) != read.end();
    });
  });
}

bool is_cached(const config::Config& config, const std::string& tower, const std::vector<Reference>& references) {
  if (is_read_by_others(config, tower)) return true;
  bool is_referred_to = false;
  for (const Reference& reference : references) {
    if (reference.target != tower) continue;
    is_referred_to = true;
    if (reads_caches(config, reference.table)) return true;
  }
  return !is_referred_to;
}

void add(std::vector<std::string>& list, const std::string& element) {
  if (!element.empty() && std::ranges::find(list, element) == list.end()) list.push_back(element);
}

// Each stage behind those that it needs, otherwise as they come.
std::vector<Stage> in_order(std::vector<Stage> stages) {
  std::vector<Stage> ordered;
  std::set<std::string> done;
  while (!stages.empty()) {
    const auto next = std::ranges::find_if(stages, [&](const Stage& stage) {
      return std::ranges::all_of(stage.needs, [&](const std::string& need) { return done.contains(need); });
    });
    CSKD_CHECK(next != stages.end(), "{} needs a stage that does not exist", stages.front().id());
    done.insert(next->id());
    ordered.push_back(std::move(*next));
    stages.erase(next);
  }
  return ordered;
}

}  // namespace

std::string cache_of(const std::string& tower) {
  const auto caches = std::ranges::find_if(stage_table(), &StageEntry::caches_towers);
  return std::string(caches->kind) + tower.substr(tower.find('.'));
}

std::vector<Stage> graph(const config::Config& config) {
  const std::vector<Reference> references = config::references_in(config);
  std::vector<Stage> stages;
  std::vector<std::string> scoring;
  std::string corpus;
  for (const StageEntry& entry : stage_table()) {
    const std::vector<std::string> names =
        entry.list == nullptr ? std::vector<std::string>{""} : config::tables_in(config, entry.list);
    for (const std::string& name : names) {
      Stage stage{.entry = &entry, .name = name};
      const std::string table = entry.list == nullptr ? entry.kind : fmt::format("{}.{}", entry.list, name);
      if (entry.caches_towers) {
        if (!is_cached(config, table, references)) continue;
        stage.tables.push_back(table);
      }
      add(stage.needs, corpus);
      for (const Reference& reference : references) {
        if (reference.table != table) continue;
        if (is_weights(reference.target)) add(stage.tables, reference.target);
        add(stage.needs, need_of(config, stage, reference.target));
        if (entry.judges) add(stage.judged, reference.target);
      }
      for (const std::string& tower : other_caches(config, entry, name)) add(stage.needs, cache_of(tower));
      if (entry.judges && stage.judged.empty()) {
        stage.judged = scoring;
        for (const std::string& model : scoring) add(stage.needs, model);
      }
      if (entry.judges && stage.judged.empty()) continue;
      if (entry.makes_corpus) corpus = stage.id();
      if (entry.scores) scoring.push_back(stage.id());
      stages.push_back(std::move(stage));
    }
  }
  stages = in_order(std::move(stages));
  // As a run trains them.
  std::map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < stages.size(); ++i) places[stages[i].id()] = i;
  for (Stage& stage : stages)
    std::ranges::sort(stage.judged, {}, [&](const std::string& model) { return places.at(model); });
  return stages;
}

std::vector<Stage> chosen(const std::vector<Stage>& graph, const std::vector<std::string>& words) {
  if (words.empty()) return graph;
  std::vector<std::string> known;
  for (const Stage& stage : graph) {
    known.push_back(stage.id());
    add(known, stage.entry->kind);
  }
  for (const std::string& word : words) {
    if (std::ranges::find(known, word) != known.end()) continue;
    const std::string near = runtime::nearest(word, known);
    throw runtime::UsageError(
        near.empty() ? fmt::format("the configuration has no stage '{}'; there is {}", word, fmt::join(known, ", "))
                     : fmt::format("the configuration has no stage '{}', did you mean '{}'?", word, near));
  }
  std::vector<Stage> stages;
  for (const Stage& stage : graph) {
    if (std::ranges::any_of(words,
                            [&](const std::string& word) { return word == stage.id() || word == stage.entry->kind; }))
      stages.push_back(stage);
  }
  return stages;
}

}  // namespace cskd::stages
