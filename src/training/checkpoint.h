// Checkpoints: a folder for each, which counts once its commit record is there.
//
//   <folder>/step-000000500/model.safetensors      weights and buffers
//                           ema.safetensors        their moving average
//                           optimizer.safetensors  AdamW's state
//                           state.pb               step, seed, digest of inputs (state.proto, in a sealed file)
//                           commit.json            size and XXH3-128 of each of the above; written last
//
// One process (rank 0) writes; every rank reads. Failure points: checkpoint.{model,ema,optimizer,state,commit,remove}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/trace.h"
#include "training/stage.h"
#include "training/state.pb.h"

namespace cskd::training {

struct CheckpointContents {
  NamedTensors model, average, optimizer;
  State state;
  std::vector<std::pair<std::string, std::string>> metadata;
};

// Writes synchronously. A folder of an earlier try at the same step is removed first. Throws Error.
void write_checkpoint(const std::filesystem::path& folder, const CheckpointContents& contents);

// Writes on a thread of its own while training goes on; one at a time.
class CheckpointWriter {
 public:
  // Keeps the newest `keep` checkpoints of `folder`. `trace`, if there is one, outlives it.
  CheckpointWriter(std::filesystem::path folder, std::uint32_t keep, runtime::Trace* trace = nullptr);
  // Waits for the write under way; its error is logged, since a destructor cannot throw.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Copies the tensors, then returns; waits first for the write before. Throws what that one failed with.
  void start(const CheckpointContents& contents);
  // Waits. Throws what the write failed with.
  void finish();

 private:
  std::filesystem::path folder_;
  std::uint32_t keep_;
  runtime::Trace* trace_;
  std::future<void> running_;
};

// The newest whole checkpoint in `folder`: its step. Damaged or partial ones are logged with the reason and passed
// over. nullopt when there is none.
std::optional<std::uint64_t> newest_checkpoint(const std::filesystem::path& folder);

struct LoadedCheckpoint {
  std::map<std::string, at::Tensor> model, average, optimizer;
  State state;
};

// Throws DataError that names the file when it is damaged or not there.
LoadedCheckpoint read_checkpoint(const std::filesystem::path& folder, std::uint64_t step);

// Removes checkpoints without commit record, which a killed process left. One rank calls.
void remove_unfinished_checkpoints(const std::filesystem::path& folder);

}  // namespace cskd::training
