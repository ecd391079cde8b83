// Sums gradients over ranks while backward still runs.
//
// Note [Bucket order]
// Parameters fill buckets in the reverse of their order, because backward reaches the last ones first; the first bucket
// is small, so that communication starts early. Gradients are views of their bucket. Buckets are
// sent strictly in their order on every rank, whatever order their gradients arrive in: collective calls must match.
// (PyTorch DDP: Li et al., arXiv 2006.15704, section 3.2.)
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "distributed/communicator.h"

namespace cskd::distributed {

struct ReducerOptions {
  std::int64_t first_bytes = 1 << 20;  // of the first bucket
  std::int64_t bytes = 25 << 20;       // of the others
  std::uint64_t micro_batches = 1;     // of this rank in a step
  // Sums have the same bits on any number of ranks (Note [Sum tree]); costs memory for the logarithm of micro_batches
  // sums. REQUIRES: the number of ranks is a power of two
  bool elastic = false;
  // Buckets of float32 travel as bfloat16: half of the bytes, 8 bits of precision. Not with `elastic`.
  bool compress = false;
};

// What every link carries in an all-reduce of so many bytes between `ranks`, however it is done, 2 (R - 1) / R of them,
// over its time: bytes/s; 0 when it took none. https://github.com/NVIDIA/nccl-tests, doc/PERFORMANCE.md
double bus_bandwidth(std::uint64_t bytes, double seconds, int ranks);

// A bucket on its way, as this rank saw it: what it waited for another rank is part of it.
struct BucketTiming {
  std::string label;
  std::uint64_t bytes = 0;  // that travelled
  Collective::Time ready;   // its last gradient was there, and it was handed over
  Collective::Time started, ended;

  double seconds() const { return std::chrono::duration<double>(ended - started).count(); }
  double bus_bandwidth(int ranks) const { return distributed::bus_bandwidth(bytes, seconds(), ranks); }
};

// What one step's communication cost.
struct ReduceStatistics {
  double exposed_seconds = 0;         // from the end of backward to the last bucket
  double communication_seconds = 0;   // while any bucket was on its way
  std::vector<BucketTiming> buckets;  // in the order of sending
  std::vector<std::string> unused;    // parameters that no backward pass of the step reached

  // The share of communication that backward hid; 1 when there was none.
  double overlap() const;
};

class GradientReducer {
 public:
  // Parameters that require gradients, with their names, on communicator.device(). Registers hooks: do not change the
  // parameters' type afterwards (Module::to() removes hooks). `communicator` and the parameters must outlive it.
  GradientReducer(std::vector<std::pair<std::string, at::Tensor>> parameters, Communicator& communicator,
                  ReducerOptions options = {});
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  // Takes all gradients away; before the first micro-batch of a step. Others must not.
  void start_step();
  // Before the backward pass of each of this rank's micro-batches. During the last one buckets are sent as they become
  // complete; gradients of those before only add up.
  void start_micro_batch();
  // After the last backward: sends what is left (parameters that were not used count as zero) and waits. Gradients then
  // hold sums over micro-batches and ranks. Throws as Work::wait().
  ReduceStatistics finish_step();

  // L2 norm of the gradients of each bucket, [buckets] float32 on the device; of all of them (waits for a device).
  at::Tensor bucket_norms() const;
  double gradient_norm() const;
  void scale(double factor);

  // Names of the parameters of each bucket, in the order of sending.
  std::vector<std::vector<std::string>> layout() const;

 private:
  struct Bucket;
  struct State;
  std::shared_ptr<State> state_;
};

// Of all gradients, from the norms of the buckets.
double norm_of_buckets(std::span<const double> norms);

}  // namespace cskd::distributed
