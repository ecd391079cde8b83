#include "distributed/sum_tree.h"

#include <utility>

#include "runtime/check.h"

namespace cskd::distributed {
namespace {

// Of the leaves from `first` on: each sum is added when its last leaf came.
void count_additions(std::uint64_t first, std::uint64_t leaves, std::vector<int>& after) {
  if (leaves % 2 == 1) {
    for (std::uint64_t i = first + 1; i < first + leaves; ++i) ++after[i];
    return;
  }
  count_additions(first, leaves / 2, after);
  count_additions(first + leaves / 2, leaves / 2, after);
  ++after[first + leaves - 1];
}

}  // namespace

std::vector<int> additions_after_leaves(std::uint64_t leaves) {
  CSKD_CHECK(leaves >= 1, "a sum of {} parts", leaves);
  std::vector<int> after(leaves);
  count_additions(0, leaves, after);
  return after;
}

void TreeSum::add(at::Tensor leaf) {
  CSKD_CHECK(count_ + 1 < additions_.size(), "leaf {} of {} is the last one", count_, additions_.size());
  for (int i = additions_[count_++]; i > 0; --i) {
    leaf.add_(sums_.back());
    sums_.pop_back();
  }
  sums_.push_back(std::move(leaf));
}

void TreeSum::finish(const at::Tensor& last) {
  CSKD_CHECK(count_ + 1 == additions_.size(), "{} of {} leaves came", count_, additions_.size());
  while (!sums_.empty()) {
    last.add_(sums_.back());
    sums_.pop_back();
  }
  count_ = 0;
}

}  // namespace cskd::distributed
