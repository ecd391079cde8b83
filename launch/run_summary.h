// The summary of a whole run, as a file and as text.
#pragma once

#include <string>
#include <vector>

#include "evaluation/results.h"

namespace cskd::launch {

// What a whole run did.
struct RunSummary {
  struct Stage {
    std::string name;
    double seconds = 0;
    double images_per_second = 0;
  };
  std::vector<Stage> stages;
  std::string corpus;  // JSON: the facts of packing/pack.h
  evaluation::Results results;
};

// summary.json: stages[], corpus, results[].
std::string to_json(const RunSummary& summary);
// The whole summary for people.
std::string to_text(const RunSummary& summary);

}  // namespace cskd::launch
