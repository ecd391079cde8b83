// How fast ranks exchange and train: all-reduces alone, and whole training steps on made-up pictures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "distributed/communicator.h"

namespace cskd::bench {

struct AllReduceOptions {
  std::vector<std::int64_t> numbers{1, 256, 25'000, 1'000'000, 6'500'000, 25'000'000};  // float32 of each case
  int repeats = 30;
  distributed::Reduction reduction = distributed::Reduction::kSum;
};

struct AllReduceFigures {
  std::int64_t numbers = 0;
  std::vector<double> seconds;  // of each repeat, of the slowest rank

  double median() const;
  // What every link has to carry, however it is done: 2 (R - 1) / R of the bytes, over the median. Bytes/s.
  // https://github.com/NVIDIA/nccl-tests, doc/PERFORMANCE.md
  double bus_bandwidth(int ranks) const;
};

// Collective.
std::vector<AllReduceFigures> run_all_reduce_bench(const AllReduceOptions& options,
                                                   distributed::Communicator& communicator);

struct StepOptions {
  std::string encoder = "mobilenetv3_small_100";
  int image_size = 128;
  std::int64_t batch = 16;          // images of a micro-batch
  std::uint64_t micro_batches = 1;  // of each rank in a step
  int steps = 20;
  bool elastic = false;
  bool compress = false;
  bool channels_last = true;
};

struct StepFigures {
  std::vector<double> seconds;  // of each step, of rank 0
  std::vector<double> exposed;  // seconds of each step that rank 0 waited for buckets after backward
  std::int64_t images = 0;      // of a step, all ranks

  double median() const;
};

// A step is forward, backward with the all-reduce of gradients, clipping, AdamW and the moving average of the weights.
// Collective. Throws UsageError for an unknown encoder.
StepFigures run_step_bench(const StepOptions& options, distributed::Communicator& communicator);

std::string to_text(const AllReduceOptions& options, const std::vector<AllReduceFigures>& figures,
                    const distributed::Communicator& communicator);
// {"communicator", "ranks", "reduction", "cases": [{"numbers", "seconds": [...], "median", "bus_bytes_per_second"}]}
std::string to_json(const AllReduceOptions& options, const std::vector<AllReduceFigures>& figures,
                    const distributed::Communicator& communicator);
std::string to_text(const StepOptions& options, const StepFigures& figures,
                    const distributed::Communicator& communicator);
// {"communicator", "ranks", "encoder", "image_size", "batch", "micro_batches", "elastic", "compress", "channels_last",
// "seconds": [...], "exposed_seconds": [...], "median", "images_per_second"}
std::string to_json(const StepOptions& options, const StepFigures& figures,
                    const distributed::Communicator& communicator);

}  // namespace cskd::bench
