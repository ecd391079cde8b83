// Reductions that MPI does not have: sums in the order of a fixed tree, and of 16-bit floating-point numbers.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>
#include <mpi.h>

#include "distributed/communicator.h"

namespace cskd::distributed {

// Throws Error with MPI's text unless `status` is MPI_SUCCESS.
void check_mpi(int status, const char* call);

// How MPI takes the elements of a tensor. float16 and bfloat16 are added in float32 and rounded at each addition.
class MpiTypes {
 public:
  MpiTypes();
  ~MpiTypes();
  MpiTypes(const MpiTypes&) = delete;
  MpiTypes& operator=(const MpiTypes&) = delete;

  MPI_Datatype type(at::ScalarType type) const;
  MPI_Op operation(at::ScalarType type, Reduction reduction) const;  // kMean: a sum

 private:
  MPI_Op sum_half_ = MPI_OP_NULL;
  MPI_Op max_half_ = MPI_OP_NULL;
  MPI_Op sum_bfloat16_ = MPI_OP_NULL;
  MPI_Op max_bfloat16_ = MPI_OP_NULL;
};

// Sums a dense tensor of float32, float64 or int64 on the CPU over all ranks, in place, in the order of Note [Sum
// tree]. Large ones are halved with each partner, then collected (Rabenseifner, "Optimization of Collective Reduction
// Operations", ICCS 2004): every rank sends 2 (R - 1) / R of the tensor. REQUIRES: the number of ranks is a power of
// two
void tree_all_reduce(const at::Tensor& tensor, MPI_Comm channel);

}  // namespace cskd::distributed
