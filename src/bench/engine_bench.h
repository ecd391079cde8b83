// A benchmark of the engine: all-reduces alone, and whole training steps on made-up pictures.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "distributed/communicator.h"
#include "models/compute_settings.h"
#include "training/compute_probe.h"

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
  // distributed::bus_bandwidth() by the median.
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
  std::optional<models::Precision> precision = models::Precision::kFp32;  // nullopt: as the start-up probe finds
  std::optional<models::MemoryFormat> memory_format = models::MemoryFormat::kChannelsLast;
  std::string weights;  // safetensors file to start from, names as in HeadedEncoder::state(); empty: random ones
  // Leaves the gradient reducer out: what a step costs without it. A world of one only.
  bool bare = false;
};

struct StepFigures {
  models::ComputeSettings settings;
  std::vector<training::ProbeCase> probed;
  std::vector<double> seconds;        // of each step, of rank 0
  std::vector<double> exposed;        // seconds of each step that rank 0 waited for buckets after backward
  std::vector<double> communication;  // seconds of each step while a bucket of rank 0's was on its way
  std::vector<double> losses;         // of each step, mean over all ranks; before the warm-up, too
  struct Bucket {
    std::string label;
    std::uint64_t bytes = 0;
    std::vector<double> bus_bandwidth;  // bytes/s in each step, as rank 0 saw it
  };
  std::vector<Bucket> buckets;
  std::int64_t images = 0;  // of a step, all ranks

  double median() const;
  double overlap() const;  // median share of communication that backward hid
};

// A step is forward, backward with the all-reduce of gradients, clipping, AdamW and the moving average of the weights.
//
// Note [Made-up batches]
// Micro-batch i of step s has images and targets drawn, in this order, from LibTorch's generator on the CPU, seeded by
// s * (micro-batches of all ranks) + i: anyone can draw them again, in Python too.
//
// Collective. Throws UsageError for an unknown encoder, DataError for weights that do not fit.
StepFigures run_step_bench(const StepOptions& options, distributed::Communicator& communicator);

std::string to_text(const AllReduceOptions& options, const std::vector<AllReduceFigures>& figures,
                    const distributed::Communicator& communicator);
// {"communicator", "ranks", "reduction", "cases": [{"numbers", "seconds": [...], "median", "bus_bytes_per_second"}]}
std::string to_json(const AllReduceOptions& options, const std::vector<AllReduceFigures>& figures,
                    const distributed::Communicator& communicator);
std::string to_text(const StepOptions& options, const StepFigures& figures,
                    const distributed::Communicator& communicator);
// {"communicator", "ranks", "encoder", "image_size", "batch", "micro_batches", "elastic", "compress", "bare",
// "precision", "memory_format", "probe": [{"precision", "memory_format", "seconds"}], "seconds": [...],
// "exposed_seconds": [...], "communication_seconds": [...], "losses": [...], "buckets": [{"label", "bytes",
// "bus_bytes_per_second"}], "median", "overlap", "images_per_second"}
std::string to_json(const StepOptions& options, const StepFigures& figures,
                    const distributed::Communicator& communicator);

}  // namespace cskd::bench
