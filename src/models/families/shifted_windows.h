// Windows of a square feature map, in which tokens attend to each other, in place or shifted by half a window (Liu et
// al., https://arxiv.org/abs/2103.14030), as timm lays them.
#pragma once

#include <torch/types.h>

#include "models/families/constant.h"

namespace cskd::models {

// Note [Windows]
// A window that is larger than the map shrinks to it, and is not shifted. Shifting moves the map's first rows and
// columns to its end; there a mask keeps tokens apart that are no neighbours in the map. Then a map that is no multiple
// of the window gets rows and columns of zeros at its bottom and right, to which the other tokens do attend.
class ShiftedWindows {
 public:
  // A map of grid x grid tokens. `window`: tokens a side of a window at most.
  ShiftedWindows(int grid, int window, bool is_shifted);

  int side() const { return side_; }  // of a window, in tokens
  int tokens() const { return side_ * side_; }
  int count() const { return per_side_ * per_side_; }  // windows of a map
  bool is_shifted() const { return shift_ > 0; }

  // [N, grid, grid, D] to [N * count(), tokens(), D], and back.
  torch::Tensor partition(const torch::Tensor& map) const;
  torch::Tensor merge(const torch::Tensor& windows) const;

  // Attention in every window: softmax(scale * queries keys^T + bias) values, with the mask where the map is shifted.
  // Queries, keys and values: [N * count(), heads, tokens(), d]; bias: [heads, tokens(), tokens()]. Returns
  // [N * count(), tokens(), heads * d].
  torch::Tensor attend(const torch::Tensor& queries, const torch::Tensor& keys, const torch::Tensor& values,
                       const torch::Tensor& bias, double scale) const;

  // Of a table with a row for each of (2 side() - 1)^2 relative positions, [rows, heads]: the bias of every token of a
  // window towards every other, [heads, tokens(), tokens()].
  torch::Tensor bias_of(const torch::Tensor& table) const;

 private:
  int grid_;
  int side_;
  int shift_;
  int per_side_;                 // windows
  Constant order_;               // for each token of the windows in turn, its place in the padded map
  Constant places_;              // the reverse
  Constant mask_;                // [count, 1, tokens, tokens]: 0, or -100 between tokens that are no neighbours
  Constant relative_positions_;  // [tokens * tokens]: rows of the table
};

}  // namespace cskd::models
