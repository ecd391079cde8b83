// Answers of aesthetics teachers to pictures of Stage II: stored ones to whole pictures, or to the very pixels that the
// student sees.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "batches/batches.h"
#include "config/config.pb.h"
#include "data/sample_order.h"
#include "data/sample_source.h"
#include "data/view.h"
#include "features/targets.h"
#include "inference/stage_model.h"
#include "run/context.h"

namespace cskd::stages {

// Distributions over bins, the mean over teachers, and how far each counts (losses::pseudo_label_weight). Without
// gradients.
struct Answers {
  at::Tensor distributions;  // [n, K] float32
  at::Tensor weights;        // [n] float32
  at::Tensor features;       // [n, D] float32, that the first teacher's head reads, before whitening; may be empty
};

// Of the pictures of a stream. begin(), view() and fill() are called by loader threads.
class TeacherAnswers {
 public:
  // Of a part of a micro-batch.
  struct Room {
    Answers made_before;
    std::vector<features::TargetRoom> teachers;  // of each, where the answer follows the view
  };

  virtual ~TeacherAnswers() = default;

  // Before the first batch; `step` is the one that training goes on from.
  virtual void start(const data::SampleSet& samples, std::uint64_t step) = 0;
  // Room for the pictures whose student's pixels are `pixels`.
  virtual Room begin(const at::Tensor& pixels) const = 0;
  // What the student has to see of a picture; nothing: whatever it likes.
  virtual std::optional<data::View> view(const data::SampleSource::Sample& sample,
                                         const data::SampleUse& use) const = 0;
  virtual void fill(Room& room, std::uint64_t item, const data::SampleSource::Sample& sample,
                    const data::SampleUse& use) const = 0;
  virtual std::uint64_t bytes(std::uint64_t pictures) const = 0;  // of a room, about
  // On the training's thread: on the device.
  virtual Answers of(const Room& room) = 0;
};

using Teachers = std::vector<inference::Model>;

// The mean over the whole picture, its mirror image and all teachers, as stored: Note [Stored answers]; what is missing
// is made now. A picture that could not be read does not count. Collective. `corpus` outlives it. Throws as
// stored_answers().
std::unique_ptr<TeacherAnswers> answers_to_whole_pictures(const run::Context& context, const config::Distill& distill,
                                                          const Teachers& teachers,
                                                          const batches::CheckedCorpus& corpus);

// Answers to the view that the student sees. Teachers that read the whitened features of a tower give them from stored
// ones where the tower has views to store; others look at the pixels in each step. REQUIRES: require_distill();
// `corpus` outlives it. Throws as features::cached_targets() and online_targets().
std::unique_ptr<TeacherAnswers> answers_to_same_views(const run::Context& context, const config::Distill& distill,
                                                      const Teachers& teachers, const batches::CheckedCorpus& corpus);

// A tower that answers_to_same_views() reads, or would, in the order of teachers: nothing for a teacher that reads
// none.
std::vector<std::optional<std::string>> teachers_towers(const config::Config& config, const config::Distill& distill);

// Towers whose caches the answers come from.
std::vector<std::string> answering_caches(const config::Config& config, const std::string& distill);

}  // namespace cskd::stages
