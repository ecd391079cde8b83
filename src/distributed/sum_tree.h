// In which order the parts of a sum are added, so that it has the same bits wherever they were computed.
//
// Note [Sum tree]
// Floating-point addition is not associative: gradients of the same micro-batches, added in another order, differ in
// their last bits, and after some steps so do the weights. So the M micro-batches of a step are the leaves of one tree:
// an even number of leaves is the sum of its two halves, an odd one is added from left to right. A rank that holds the
// leaves [r * M / R, (r + 1) * M / R), with R a power of two that divides M, holds a whole node of it, and the nodes of
// all ranks are added by halves again. Addition is commutative, so it does not matter who adds.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cskd::distributed {

// After leaf i, this many additions are due, each of the two sums that were made last. REQUIRES: leaves >= 1
std::vector<int> additions_after_leaves(std::uint64_t leaves);

// Adds tensors of equal shape in the order of the tree, as they come; holds the logarithm of the number of leaves.
class TreeSum {
 public:
  explicit TreeSum(std::uint64_t leaves) : additions_(additions_after_leaves(leaves)) {}

  // The next leaf; the tensor is taken over, and may be changed.
  void add(at::Tensor leaf);
  // The last leaf and all additions that are left, in place. Ready for the next sum then. REQUIRES: all others came
  void finish(const at::Tensor& last);
  // Leaves that came.
  std::uint64_t count() const noexcept { return count_; }

 private:
  std::vector<int> additions_;
  std::vector<at::Tensor> sums_;
  std::uint64_t count_ = 0;
};

}  // namespace cskd::distributed
