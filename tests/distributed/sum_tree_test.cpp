#include "distributed/sum_tree.h"

#include <cstring>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace cskd::distributed {
namespace {

// The definition: halves of an even number, from left to right of an odd one.
at::Tensor sum_of(const std::vector<at::Tensor>& leaves, std::size_t first, std::size_t count) {
  if (count % 2 == 0) return sum_of(leaves, first, count / 2) + sum_of(leaves, first + count / 2, count / 2);
  at::Tensor sum = leaves[first].clone();
  for (std::size_t i = first + 1; i < first + count; ++i) sum = sum + leaves[i];
  return sum;
}

bool same_bits(const at::Tensor& left, const at::Tensor& right) {
  return left.nbytes() == right.nbytes() && std::memcmp(left.data_ptr(), right.data_ptr(), left.nbytes()) == 0;
}

std::vector<at::Tensor> random_leaves(std::size_t count) {
  std::vector<at::Tensor> leaves;
  for (std::size_t i = 0; i < count; ++i) leaves.push_back(at::randn({257}) * at::exp(4 * at::randn({257})));
  return leaves;
}

TEST(TreeSum, AddsInTheOrderOfItsDefinition) {
  at::manual_seed(1);
  for (std::size_t count = 1; count <= 48; ++count) {
    const std::vector<at::Tensor> leaves = random_leaves(count);
    TreeSum sum(count);
    for (int round = 0; round < 2; ++round) {
      for (std::size_t i = 0; i + 1 < count; ++i) sum.add(leaves[i].clone());
      EXPECT_EQ(sum.count(), count - 1);
      const at::Tensor last = leaves.back().clone();
      sum.finish(last);
      EXPECT_TRUE(same_bits(last, sum_of(leaves, 0, count))) << count << " leaves";
    }
  }
}

// What ranks do: each adds its own leaves, and they add by halves.
TEST(TreeSum, OfPartsIsTheSumOfTheWhole) {
  at::manual_seed(2);
  for (const std::size_t count : {8, 12, 16, 24, 40}) {
    const std::vector<at::Tensor> leaves = random_leaves(count);
    for (const std::size_t ranks : {2, 4, 8}) {
      if (count % ranks != 0) continue;
      std::vector<at::Tensor> parts;
      for (std::size_t rank = 0; rank < ranks; ++rank) {
        TreeSum sum(count / ranks);
        for (std::size_t i = 0; i + 1 < count / ranks; ++i) sum.add(leaves[rank * (count / ranks) + i].clone());
        parts.push_back(leaves[(rank + 1) * (count / ranks) - 1].clone());
        sum.finish(parts.back());
      }
      EXPECT_TRUE(same_bits(sum_of(parts, 0, ranks), sum_of(leaves, 0, count))) << count << " on " << ranks;
    }
  }
}

TEST(TreeSum, OrderMatters) {
  at::manual_seed(3);
  const std::vector<at::Tensor> leaves = random_leaves(8);
  at::Tensor sequence = leaves[0].clone();
  for (std::size_t i = 1; i < 8; ++i) sequence = sequence + leaves[i];
  EXPECT_FALSE(same_bits(sequence, sum_of(leaves, 0, 8))) << "this test would prove nothing";
}

}  // namespace
}  // namespace cskd::distributed
