// Collective operations on tensors between the ranks of a job. A world of one is the identity; callers never ask
// whether they are alone.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/world.h"

namespace cskd::distributed {

enum class Reduction { kSum, kMean, kMax };

// A collective operation under way. Its tensor must live, and stay untouched, until wait() returned.
class Work {
 public:
  virtual ~Work() = default;
  // Returns when the tensor holds the result (on a GPU: when the current stream will see it). Throws Error when the
  // other ranks do not come within the communicator's time limit: the job cannot go on then.
  virtual void wait() = 0;
};

// Every rank calls the same operations in the same order, with tensors of equal type, shape and strides: dense
// (contiguous, or so after some reordering of dimensions, as channels last), on device(). Types: float32, float64,
// float16, bfloat16 (summed in float32 where the backend has no such type), int64. From one thread.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual std::string name() const = 0;  // "local", "mpi", "nccl"
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual at::Device device() const = 0;

  // Reduces in place, while the caller goes on. kMean divides the sum by size() (not for int64).
  virtual std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction) = 0;
  // Every rank gets `root`'s values in place.
  virtual void broadcast(const at::Tensor& tensor, int root) = 0;
  // Entry r is rank r's tensor.
  virtual std::vector<at::Tensor> all_gather(const at::Tensor& tensor) = 0;

  void all_reduce(const at::Tensor& tensor, Reduction reduction) { start_all_reduce(tensor, reduction)->wait(); }
  void barrier();
};

// The identity. REQUIRES: a world of one
std::unique_ptr<Communicator> make_local_communicator(at::Device device);

// CPU tensors over MPI. A thread of its own runs blocking calls on a communicator of its own: Open MPI makes no
// progress in the background, and its blocking all-reduce is twice as fast as the other. Collective. `world` must
// outlive it; a time-out declares it broken.
std::unique_ptr<Communicator> make_mpi_communicator(runtime::World& world, std::chrono::milliseconds timeout);

// GPU tensors over NCCL, on a stream of its own, one device for each rank. Collective. Throws Error when two ranks
// would share a GPU or NCCL fails; UsageError in a build without NCCL.
std::unique_ptr<Communicator> make_nccl_communicator(runtime::World& world, at::Device device,
                                                     std::chrono::milliseconds timeout);

// The one that fits: NCCL when every rank has a GPU of its own, MPI for more than one rank without, local otherwise.
std::unique_ptr<Communicator> make_communicator(runtime::World& world, std::chrono::milliseconds timeout);

}  // namespace cskd::distributed
