// A benchmark of checkpoints: how long training waits for them, and how fast they are written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cskd::bench {

struct CheckpointOptions {
  std::filesystem::path folder;  // on the disk that is measured; emptied of what is written
  std::string encoder = "ViT-L-14";
  int rounds = 10;
  double step_seconds = 1;  // of the computation that stands for a training step
};

// A checkpoint is the encoder's weights, their average, and AdamW's state. Each round writes as many bytes plainly
// (write and fsync of one file), then a checkpoint while nothing else runs, then one while steps go on.
struct CheckpointFigures {
  std::uint64_t bytes = 0;
  std::vector<double> plain;    // seconds of each round: the plain write
  std::vector<double> copied;   // the copy of the tensors, while nothing else runs
  std::vector<double> written;  // from there to the commit
  std::vector<double> stalls;   // that training waited while steps went on
  std::vector<double> busy;     // from its start to its commit, while steps went on

  // Stalls at this percentile.
  double stall(double percentile) const;
  // Median bytes/s of checkpoints over those of plain writes.
  double throughput() const;
};

// Throws UsageError for an unknown encoder, Error when the disk is full.
CheckpointFigures run_checkpoint_bench(const CheckpointOptions& options);

std::string to_text(const CheckpointOptions& options, const CheckpointFigures& figures);
// {"encoder", "bytes", "plain_seconds": [...], "copied_seconds": [...], "written_seconds": [...], "stall_seconds":
// [...], "busy_seconds": [...], "stall_p50", "stall_p99", "throughput"}
std::string to_json(const CheckpointOptions& options, const CheckpointFigures& figures);

}  // namespace cskd::bench
