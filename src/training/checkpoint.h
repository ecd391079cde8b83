// Checkpoints: a folder for each, which counts once its commit record is there.
//
//   <folder>/step-000000500/model.safetensors      weights and buffers
//                           ema.safetensors        their moving average
//                           optimizer.safetensors  the optimiser's state; memory.* : the objective's memory
//                           state.pb               step, inputs, counts (state.proto, in a sealed file)
//                           commit.json            size and XXH3-128 of each of the above; written last
//
// One process (rank 0) writes; every rank reads. Failure points: checkpoint.{model,ema,optimizer,state,commit,remove}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "training/state.pb.h"
#include "training/task.h"

namespace cskd::training {

// Objective::memory() under the names that it has beside the optimiser's tensors.
NamedTensors stored_memory(Objective& objective);

struct CheckpointContents {
  NamedTensors model, average, optimizer;
  State state;
  std::vector<std::pair<std::string, std::string>> metadata;  // of the weight files
};

// Returns when the checkpoint is whole on disk. A folder of an earlier try at the same step is removed first. What is
// logged before must not be lost when the checkpoint is not: `before_commit` writes it out. Throws Error; the folder is
// then removed.
void write_checkpoint(const std::filesystem::path& folder, const CheckpointContents& contents,
                      const std::function<void()>& before_commit = {});

// A checkpoint as its folder and commit record tell.
struct CheckpointInfo {
  std::uint64_t step = 0;
  std::filesystem::path path;
  bool is_committed = false;  // its commit record is there; without one its writer was stopped
  double time = 0;            // Unix time of the commit; 0 when the record is missing or damaged
  std::uint64_t bytes = 0;    // of the files that the record names
  std::map<std::string, double> validation;
};

// All in `folder`, whole or not, newest first; none when the folder is missing.
std::vector<CheckpointInfo> list_checkpoints(const std::filesystem::path& folder);

// Throws DataError, naming file and remedy, unless all files are as the commit record says.
void check_checkpoint(const std::filesystem::path& checkpoint);

// The newest whole checkpoint in `folder`: its step. Damaged or partial ones are logged with the reason and passed
// over. nullopt when none was ever committed; throws DataError when some were and none is whole.
std::optional<std::uint64_t> newest_checkpoint(const std::filesystem::path& folder);

struct LoadedCheckpoint {
  std::map<std::string, at::Tensor> model, average, optimizer;
  State state;
};

// Throws DataError that names the file when it is damaged or missing.
LoadedCheckpoint read_checkpoint(const std::filesystem::path& folder, std::uint64_t step);
State read_checkpoint_state(const std::filesystem::path& checkpoint);

// Which checkpoints stay.
struct Retention {
  std::uint32_t newest = 2;  // this many
  std::uint64_t every = 0;   // those of steps that this divides; 0: none
  std::uint32_t best = 0;    // this many, by `best_by`; those without it are none
  std::string best_by;
  bool highest_is_best = true;
};

// Steps of those that go once the one of step `written` is whole. Later ones are damaged, or it would have gone on from
// them: they neither count nor go. A tie of figures is won by the newer one.
std::vector<std::uint64_t> superfluous(const std::vector<CheckpointInfo>& checkpoints, const Retention& retention,
                                       std::uint64_t written);

// One rank calls. A half-removed one has no commit record. What cannot be removed is logged, and stays.
void remove_checkpoint(const std::filesystem::path& checkpoint);

// Renames checkpoints of later steps than `step`, which are damaged, so that they are looked at no more. What cannot be
// renamed is logged, and stays. One rank calls.
void set_aside_later_checkpoints(const std::filesystem::path& folder, std::uint64_t step);

// Removes checkpoints without commit record, which a killed process left, as far as they can be. One rank calls.
void remove_unfinished_checkpoints(const std::filesystem::path& folder);

}  // namespace cskd::training
