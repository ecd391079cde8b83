// The stages of a configuration, and what each needs of the others.
#pragma once

#include <string>
#include <vector>

#include "config/config.pb.h"
#include "stages/stage_table.h"

namespace cskd::stages {

struct Stage {
  const StageEntry* entry = nullptr;
  std::string name;                 // of its table; "" for what there is one of
  std::vector<std::string> tables;  // towers and encoders that it reads the weights of: "towers.clip"
  std::vector<std::string> needs;   // stages that come before it: "cache.clip"
  std::vector<std::string> judged;  // of the one that judges: the stages whose models it judges

  // "align.student", "shard"
  std::string id() const { return name.empty() ? entry->kind : std::string(entry->kind) + "." + name; }
};

// Every stage of the configuration, each behind those that it needs, otherwise in the order of the table of stages and
// of the file. A tower is cached when a stage reads its cache, or nothing refers to it; models are judged when there
// are any. REQUIRES: references were checked
std::vector<Stage> graph(const config::Config& config);

// The stage that caches a tower: of "towers.clip", "cache.clip".
std::string cache_of(const std::string& tower);

// Those of a graph that these words name: a kind stands for all of its stages, "align.student" for one. All without
// words. Throws UsageError for others, with the nearest.
std::vector<Stage> chosen(const std::vector<Stage>& graph, const std::vector<std::string>& words);

}  // namespace cskd::stages
