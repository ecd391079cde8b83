// Collective operations on tensors between the ranks of a job. A world of one is the identity; callers never ask
// whether they are alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "distributed/fault_injection.h"
#include "distributed/journal.h"
#include "runtime/world.h"

namespace cskd::distributed {

enum class Reduction {
  kSum,
  kMean,  // the sum, divided by the number of ranks (not of int64)
  kMax,
  // The sum in the order of Note [Sum tree] (distributed/sum_tree.h), with the same bits on any backend. float32,
  // float64 and int64 only. REQUIRES: the number of ranks is a power of two
  kTreeSum,
};

// A collective operation under way. Its tensor must live, and stay untouched, until wait() returned.
class Work {
 public:
  virtual ~Work() = default;
  // Returns when the tensor holds the result (on a GPU: when the current stream will see it). Throws Error when the
  // other ranks do not come within the communicator's time limit: the job cannot go on then.
  virtual void wait() = 0;
};

// An explanation of an operation that takes too long, for its error: which ranks are missing.
using Investigate = std::function<std::string(const Collective&)>;

// Every rank calls the same operations in the same order, with tensors of equal type, shape and strides: dense
// (contiguous, or so after some reordering of dimensions, as channels last), on device(). Types: float32, float64,
// float16, bfloat16 (added in float32, rounded at each addition), int64. From one thread. All of them are written into
// the journal, and struck by FaultInjection.
class Communicator {
 public:
  Communicator(int rank, int size) : rank_(rank), size_(size), faults_(rank) {}
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  virtual std::string name() const = 0;  // "local", "mpi", "nccl"
  virtual at::Device device() const = 0;
  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }

  // Reduces in place, while the caller goes on. `label` says what for, in the journal and in errors.
  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction, std::string label = {});
  void all_reduce(const at::Tensor& tensor, Reduction reduction, std::string label = {});
  // Every rank gets `root`'s values in place.
  void broadcast(const at::Tensor& tensor, int root, std::string label = {});
  // Entry r is rank r's tensor.
  std::vector<at::Tensor> all_gather(const at::Tensor& tensor, std::string label = {});
  // This rank's of size() equal parts of the sum, along the first dimension. REQUIRES: contiguous; size() divides it
  at::Tensor reduce_scatter(const at::Tensor& tensor, std::string label = {});
  void barrier();

  // Zeros [numbers] on device(), in memory that all-reduces take as it is (NCCL: registered with it). For what is
  // reduced again and again. May outlive the communicator.
  virtual at::Tensor allocate(std::int64_t numbers, at::ScalarType type);

  Journal& journal() noexcept { return *journal_; }
  // How long wait() waits. Default: what the communicator was made with.
  virtual void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }
  // Called by wait() after a time-out; its text goes into the error.
  void set_investigation(Investigate investigate) { investigate_ = std::move(investigate); }

 protected:
  // What a backend does. It calls journal().start(number) and end(number) where it knows.
  virtual std::unique_ptr<Work> launch_all_reduce(const at::Tensor& tensor, Reduction reduction,
                                                  std::uint64_t number) = 0;
  virtual std::unique_ptr<Work> launch_broadcast(const at::Tensor& tensor, int root, std::uint64_t number) = 0;
  // `gathered` [size, ...] is contiguous.
  virtual std::unique_ptr<Work> launch_all_gather(const at::Tensor& tensor, const at::Tensor& gathered,
                                                  std::uint64_t number) = 0;
  virtual std::unique_ptr<Work> launch_reduce_scatter(const at::Tensor& tensor, const at::Tensor& part,
                                                      std::uint64_t number) = 0;

  std::chrono::milliseconds timeout() const noexcept { return timeout_; }
  // For threads that may outlive the communicator.
  const std::shared_ptr<Journal>& shared_journal() const noexcept { return journal_; }
  // Throws the Error of an operation that was not done in time.
  [[noreturn]] void time_out(std::uint64_t number);
  // No operation will be done any more: nothing that waits for other ranks may be called.
  virtual void declare_broken() {}

 private:
  template <typename Launch>
  std::unique_ptr<Work> start(const char* kind, const at::Tensor& tensor, std::string label, const Launch& launch);

  const int rank_;
  const int size_;
  std::chrono::milliseconds timeout_{std::chrono::minutes(10)};
  const std::shared_ptr<Journal> journal_ = std::make_shared<Journal>();
  FaultInjection faults_;
  bool is_lost_ = false;  // by a fault: whatever comes later waits behind it
  Investigate investigate_;
};

// The identity. REQUIRES: a world of one
std::unique_ptr<Communicator> make_local_communicator(at::Device device);

// CPU tensors over MPI. A thread of its own runs blocking calls on a communicator of its own: Open MPI makes no
// progress in the background, and its blocking all-reduce is twice as fast as the other. Collective. `world` must
// outlive it; a time-out declares it broken.
std::unique_ptr<Communicator> make_mpi_communicator(runtime::World& world, std::chrono::milliseconds timeout);

// GPU tensors over NCCL, on a stream of its own, one device for each rank (distributed/devices/device_choice.h).
// Collective. Throws Error when NCCL fails; UsageError in a build without NCCL.
std::unique_ptr<Communicator> make_nccl_communicator(runtime::World& world, at::Device device,
                                                     std::chrono::milliseconds timeout);

// The one that fits: NCCL where ranks have GPUs, MPI for more than one rank without, local otherwise. Throws UsageError
// as choose_gpus().
std::unique_ptr<Communicator> make_communicator(runtime::World& world, std::chrono::milliseconds timeout);

}  // namespace cskd::distributed
