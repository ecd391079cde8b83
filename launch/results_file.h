// Results as files and as text.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launch/stage_runner.h"
#include "stages/evaluate.h"

namespace cskd::launch {

// <folder>/results.json: every figure with its interval. <folder>/predictions.csv: key, model, rated and predicted
// mean. Atomic. Returns their names.
std::vector<std::filesystem::path> write_results(const std::filesystem::path& folder,
                                                 const std::vector<ModelResult>& results,
                                                 const std::vector<stages::TestPredictions>& predictions);

// What write_results() wrote to results.json. Throws DataError when it is damaged.
std::vector<ModelResult> read_results(const std::filesystem::path& folder);

// What a whole run did.
struct RunSummary {
  struct Stage {
    std::string name;
    double seconds = 0;
    double images_per_second = 0;
  };
  std::vector<Stage> stages;
  std::string corpus;  // JSON: the facts of stages/shard.h
  std::vector<ModelResult> results;
};

// summary.json: stages[], corpus, results[].
std::string to_json(const RunSummary& summary);
// What became of the pictures of each source, from the facts of stages/shard.h.
std::string corpus_table(const std::string& facts);
// The whole summary for people.
std::string to_text(const RunSummary& summary);

}  // namespace cskd::launch
