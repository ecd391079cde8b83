// Writes the demo corpus; docs/demo.md describes it.
//
// All or nothing: it grows beside the target and is renamed when it is whole; corpus_place.h says how. Failure points:
// demo.render, demo.write, demo.list, and those of corpus_place.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "runtime/world.h"

namespace cskd::demo {

struct CorpusOptions {
  std::filesystem::path folder;
  std::int64_t images = 7500;  // rendered ones, a fifth of them rated; see corpus_plan.h
  std::uint64_t seed = 1;
  bool overwrite = false;
  int threads = 0;  // of each rank; 0: as many as it may use cores
};

struct CorpusSummary {
  struct Source {
    std::string name;
    std::string kind;
    std::int64_t images = 0;  // without what is planted
    std::uint64_t bytes = 0;  // of all its files
  };
  bool already_there = false;
  std::vector<Source> sources;
  std::int64_t planted = 0;
  std::uint64_t bytes = 0;
  double seconds = 0;
};

// Collective: every rank must call with equal options. Files are the same to the byte for equal images and seed,
// whatever the number of ranks and threads. `progress(done, total)` is called on rank 0 now and then, from the calling
// thread.
//
// Throws UsageError when the options make no sense or the folder holds something else, Error when it cannot be written
// or a stop signal came; then the folder is as it was before. When one rank fails, all throw.
CorpusSummary write_corpus(const CorpusOptions& options, runtime::World& world,
                           const std::function<void(std::int64_t, std::int64_t)>& progress);

}  // namespace cskd::demo
