// A training, and the model that it trains, as a configuration says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.pb.h"
#include "stages/model_source.h"

namespace cskd::stages {

// Pictures that a training goes through in an order of their own.
struct PictureStream {
  enum class Pictures {
    kAll,         // unlabelled and training pictures, their labels unseen
    kLabelled,    // training pictures whose labels are used
    kUnlabelled,  // the others, with training pictures whose labels are not used
  };
  Pictures pictures = Pictures::kAll;
  std::string key;          // that says how many a step takes
  std::uint64_t batch = 0;  // as many
};

// Throws UsageError where micro-batches cannot share a step's pictures evenly.
void require_shares(const PictureStream& stream, std::uint64_t micro_batches);

// Another model that looks at pictures once before the first step: a teacher that gives its answers.
struct TeacherPass {
  ModelSource teacher;
  PictureStream::Pictures pictures = PictureStream::Pictures::kAll;
  std::uint64_t views = 1;
};

// A tower that a training learns the features of.
struct TowerUse {
  std::string name;  // "towers.clip"
  ModelSource source;
  bool is_cached = false;        // or it computes them in each step
  std::uint64_t views = 0;       // of each picture, that are stored or could be; 0: new ones at each use
  std::uint64_t view_bytes = 0;  // of all that is learnt of a view, in a cache
};

struct TrainingSetup {
  std::string stage;  // "align.student"
  const config::Training* training = nullptr;
  ModelSource source;
  std::optional<ModelSource> partner;  // that is trained beside it
  std::vector<PictureStream> streams;
  std::uint64_t validation_pictures = 2;  // that a validation needs
  bool learns_scores = true;
  // What it computes beside forward and backward of its model, for estimates of its time.
  std::vector<TeacherPass> passes;
  double forwards = 0;  // passes forward of its pictures in each step
  std::vector<TowerUse> towers;
  std::uint64_t kept_views = 0;  // of each picture, that are kept in memory once they were rendered (data.keep_views)
};

}  // namespace cskd::stages
