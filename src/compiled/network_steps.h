// Steps of a compiled network: what XNNPACK computes, and the few things that are done here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include <xnnpack.h>

#include "compiled/step_memory.h"

namespace cskd::compiled {

// Threads that share a step; null: the caller computes alone.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  pthreadpool_t get() const { return pool_.get(); }

 private:
  struct Deleter {
    void operator()(pthreadpool_t pool) const { pthreadpool_destroy(pool); }
  };
  std::unique_ptr<pthreadpool, Deleter> pool_;
};

// A map of one image, [height, width, channels] float32; features are maps of one place.
struct MapSize {
  std::size_t height = 1, width = 1, channels = 1;
  std::size_t numbers() const { return height * width * channels; }
  bool operator==(const MapSize&) const = default;
};

class Step {
 public:
  virtual ~Step() = default;
  // Before run(), for `images` images; anew when their number or `memory` changed.
  virtual void prepare(std::size_t images, StepMemory& memory, pthreadpool_t pool) = 0;
  virtual void run(pthreadpool_t pool) = 0;
};

// Numbers of maps in StepMemory.
struct FromTo {
  std::size_t from = 0, to = 0;
};

struct Window {
  std::uint32_t kernel_height = 1, kernel_width = 1;
  std::uint32_t stride_height = 1, stride_width = 1;
  std::uint32_t dilation_height = 1, dilation_width = 1;
  std::uint32_t top = 0, bottom = 0, left = 0, right = 0;  // of zeros around the map
};

struct Bounds {
  float low, high;
};
inline constexpr Bounds kUnbounded{-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()};

// weight: [out, in / groups, height, width], bias: [out] or undefined. The result is kept within `bounds`.
std::unique_ptr<Step> convolution_step(FromTo maps, const MapSize& from, const Window& window, std::size_t groups,
                                       const at::Tensor& weight, const at::Tensor& bias, const Bounds& bounds);
std::unique_ptr<Step> max_pool_step(FromTo maps, const MapSize& from, const Window& window);

// Of every number. `clamp` is read by xnn_unary_clamp alone.
std::unique_ptr<Step> unary_step(FromTo maps, const MapSize& size, xnn_unary_operator kind,
                                 const Bounds& clamp = kUnbounded);
std::unique_ptr<Step> binary_step(std::size_t first, std::size_t second, std::size_t to, const MapSize& size,
                                  xnn_binary_operator kind);
std::unique_ptr<Step> hard_sigmoid_step(FromTo maps, const MapSize& size);

// Mean over the places of a map.
std::unique_ptr<Step> mean_step(FromTo maps, const MapSize& from);

// Every place times the same numbers: of each image a map of one place, or constants of the network.
std::unique_ptr<Step> scale_step(FromTo maps, const MapSize& size, std::size_t factors);
std::unique_ptr<Step> scale_step(FromTo maps, const MapSize& size, std::vector<float> factors);

// uint8 pixels times a factor of their channel and plus a number of it; they are given to take().
class PixelStep final : public Step {
 public:
  PixelStep(std::size_t to, const MapSize& size, std::vector<float> factors, std::vector<float> shifts);
  void take(const std::uint8_t* pixels) { pixels_ = pixels; }
  void prepare(std::size_t images, StepMemory& memory, pthreadpool_t pool) override;
  void run(pthreadpool_t pool) override;

 private:
  std::size_t to_;
  MapSize size_;
  std::vector<float> factors_, shifts_;  // of a row
  const std::uint8_t* pixels_ = nullptr;
  float* out_ = nullptr;
  std::size_t rows_ = 0;
};

}  // namespace cskd::compiled
