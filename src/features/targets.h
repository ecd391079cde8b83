// The towers' features of a training's pictures, stored or computed as they come: the same pixels, and the same way to
// the loss.
#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "data/sample_source.h"
#include "data/view.h"
#include "features/cache_set.h"
#include "models/compute_settings.h"
#include "run/context.h"

namespace cskd::features {

// A tower's part of a micro-batch of n pictures, filled by loader threads.
struct TargetRoom {
  at::Tensor features;     // [n, D] float16, where they are stored
  at::Tensor pixels;       // [n, S, S, 3] uint8, where the tower is to see them
  bool is_shared = false;  // `pixels` are those of the student, who sees the same ones
};

// [n, D], and [n, grid * grid, token width] where tokens were asked for; float32 on the device, without gradients.
struct Target {
  at::Tensor pooled;
  at::Tensor tokens;
};

// MixUp (Zhang et al., arXiv 1710.09412): each picture of a batch becomes `share` of itself and 1 - `share` of the one
// before it. 1: nothing is mixed.
at::Tensor mixed(const at::Tensor& images, double share);

// One tower of a training. begin(), view() and fill() are called by loader threads.
class TargetSource {
 public:
  virtual ~TargetSource() = default;

  // Before the first batch; `step` is the one that training goes on from.
  virtual void start(const data::SampleSet& samples, std::uint64_t step) = 0;
  // Room for the pictures whose student's pixels are `pixels`.
  virtual TargetRoom begin(const at::Tensor& pixels) const = 0;
  // What view `number` of a picture shows (data/view_series.h).
  virtual data::View view(const data::SampleSource::Sample& sample, std::uint64_t number) const = 0;
  virtual void fill(TargetRoom& room, std::uint64_t item, const data::SampleSource::Sample& sample,
                    std::uint64_t number, const data::View& view) const = 0;
  virtual std::uint64_t bytes(std::uint64_t pictures) const = 0;  // of a room, about
  // On the training's thread; `share` as mixed(). REQUIRES: 1 where features are stored
  virtual Target of(const TargetRoom& room, double share, const models::ComputeSettings& settings) = 0;
};

// Pooled features from the tower's cache. `context`, `tower` and `corpus` must outlive it.
std::unique_ptr<TargetSource> cached_targets(const run::Context& context, const config::Tower& tower,
                                             const data::Corpus& corpus);

// Features that the tower computes in each step; tokens where `with_tokens`. Rank 0 logs what its weights were
// recognised as. Throws as load_tower(). `context` and `tower` must outlive it.
std::unique_ptr<TargetSource> online_targets(const run::Context& context, const config::Tower& tower, bool with_tokens);

}  // namespace cskd::features
