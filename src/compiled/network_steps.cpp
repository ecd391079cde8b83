#include "compiled/network_steps.h"

#include <algorithm>
#include <array>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::compiled {
namespace {

void require_success(xnn_status status, const char* what) {
  if (status != xnn_status_success)
    throw runtime::DataError(fmt::format("XNNPACK: {} failed with status {}", what, static_cast<int>(status)));
}

struct OperatorDeleter {
  void operator()(xnn_operator_t made) const { xnn_delete_operator(made); }
};
using Operator = std::unique_ptr<xnn_operator, OperatorDeleter>;

// A step that is one of XNNPACK's operators.
class OperatorStep : public Step {
 public:
  void run(pthreadpool_t pool) override { require_success(xnn_run_operator(operator_.get(), pool), "a step"); }

 protected:
  xnn_operator_t get() const { return operator_.get(); }
  // Keeps what `create` makes.
  template <typename Create>
  void make(const char* what, Create create) {
    xnn_operator_t made = nullptr;
    require_success(create(&made), what);
    operator_.reset(made);
  }

 private:
  Operator operator_;
};

class Convolution final : public OperatorStep {
 public:
  Convolution(FromTo maps, const MapSize& from, const Window& window, std::size_t groups, const at::Tensor& weight,
              const at::Tensor& bias, const Bounds& bounds)
      : maps_(maps), from_(from) {
    // [out, height, width, in / groups]
    const at::Tensor kernel = weight.permute({0, 2, 3, 1}).to(at::kFloat).contiguous();
    const at::Tensor shift = bias.defined() ? bias.to(at::kFloat).contiguous() : at::Tensor();
    const auto out = static_cast<std::size_t>(weight.size(0));
    make("a convolution", [&](xnn_operator_t* made) {
      return xnn_create_convolution2d_nhwc_f32(
          window.top, window.right, window.bottom, window.left, window.kernel_height, window.kernel_width,
          window.stride_height, window.stride_width, window.dilation_height, window.dilation_width,
          static_cast<std::uint32_t>(groups), from.channels / groups, out / groups, from.channels, out,
          kernel.const_data_ptr<float>(), shift.defined() ? shift.const_data_ptr<float>() : nullptr, bounds.low,
          bounds.high, /*flags=*/0, nullptr, nullptr, made);
    });
  }

  void prepare(std::size_t images, StepMemory& memory, pthreadpool_t pool) override {
    std::size_t bytes = 0;
    std::size_t alignment = 0;
    require_success(xnn_reshape_convolution2d_nhwc_f32(get(), images, from_.height, from_.width, &bytes, &alignment,
                                                       nullptr, nullptr, pool),
                    "a convolution's shape");
    constexpr std::size_t kMostAlignment = 128;
    workspace_.resize(bytes + kMostAlignment);
    void* place = workspace_.data();
    std::size_t room = workspace_.size();
    std::align(kMostAlignment, bytes, place, room);
    require_success(xnn_setup_convolution2d_nhwc_f32(get(), place, memory.at(maps_.from), memory.at(maps_.to)),
                    "a convolution's memory");
  }

 private:
  FromTo maps_;
  MapSize from_;
  std::vector<std::byte> workspace_;
};

class MaxPool final : public OperatorStep {
 public:
  MaxPool(FromTo maps, const MapSize& from, const Window& window) : maps_(maps), from_(from) {
    make("a pool", [&](xnn_operator_t* made) {
      return xnn_create_max_pooling2d_nhwc_f32(window.top, window.right, window.bottom, window.left,
                                               window.kernel_height, window.kernel_width, window.stride_height,
                                               window.stride_width, window.dilation_height, window.dilation_width,
                                               kUnbounded.low, kUnbounded.high, /*flags=*/0, made);
    });
  }

  void prepare(std::size_t images, StepMemory& memory, pthreadpool_t pool) override {
    require_success(xnn_reshape_max_pooling2d_nhwc_f32(get(), images, from_.height, from_.width, from_.channels,
                                                       from_.channels, from_.channels, nullptr, nullptr, pool),
                    "a pool's shape");
    require_success(xnn_setup_max_pooling2d_nhwc_f32(get(), memory.at(maps_.from), memory.at(maps_.to)),
                    "a pool's memory");
  }

 private:
  FromTo maps_;
  MapSize from_;
};

class Unary final : public OperatorStep {
 public:
  Unary(FromTo maps, const MapSize& size, xnn_unary_operator kind, const Bounds& clamp) : maps_(maps), size_(size) {
    xnn_unary_params parameters{};
    parameters.clamp.min = clamp.low;
    parameters.clamp.max = clamp.high;
    make("an activation", [&](xnn_operator_t* made) {
      return xnn_create_unary_elementwise_nc(kind, xnn_datatype_fp32, xnn_datatype_fp32, &parameters, nullptr, nullptr,
                                             /*flags=*/0, made);
    });
  }

  void prepare(std::size_t images, StepMemory& memory, pthreadpool_t pool) override {
    require_success(xnn_reshape_unary_elementwise_nc(get(), images * size_.height * size_.width, size_.channels,
                                                     size_.channels, size_.channels, pool),
                    "an activation's shape");
    require_success(xnn_setup_unary_elementwise_nc(get(), memory.at(maps_.from), memory.at(maps_.to)),
                    "an activation's memory");
  }

 private:
  FromTo maps_;
  MapSize size_;
};

class Binary final : public OperatorStep {
 public:
  Binary(std::size_t first, std::size_t second, std::size_t to, const MapSize& size, xnn_binary_operator kind)
      : first_(first), second_(second), to_(to), size_(size) {
    make("a sum or product", [&](xnn_operator_t* made) {
      return xnn_create_binary_elementwise_nd(kind, xnn_datatype_fp32, nullptr, nullptr, nullptr, /*flags=*/0, made);
    });
  }

  void prepare(std::size_t images, StepMemory& memory, pthreadpool_t pool) override {
    const std::size_t numbers = images * size_.numbers();
    require_success(xnn_reshape_binary_elementwise_nd(get(), 1, &numbers, 1, &numbers, pool),
                    "a sum's or product's shape");
    require_success(xnn_setup_binary_elementwise_nd(get(), memory.at(first_), memory.at(second_), memory.at(to_)),
                    "a sum's or product's memory");
  }

 private:
  std::size_t first_, second_, to_;
  MapSize size_;
};

// Numbers that a loop of a constant length takes at once: compilers make vector instructions of it.
constexpr std::size_t kLanes = 8;
using Lanes = std::array<float, kLanes>;

void add_lanes(const float* in, float* sums) {
  Lanes all;
  for (std::size_t lane = 0; lane < kLanes; ++lane) all[lane] = sums[lane] + in[lane];
  std::ranges::copy(all, sums);
}

// `out` may be `in`.
void multiply_lanes(const float* in, const float* factors, float* out) {
  Lanes all;
  for (std::size_t lane = 0; lane < kLanes; ++lane) all[lane] = in[lane] * factors[lane];
  std::ranges::copy(all, out);
}

class HardSigmoid final : public Step {
 public:
  HardSigmoid(FromTo maps, const MapSize& size) : maps_(maps), size_(size) {}

  void prepare(std::size_t images, StepMemory& memory, pthreadpool_t) override {
    in_ = memory.at(maps_.from);
    out_ = memory.at(maps_.to);
    numbers_ = images * size_.numbers();
  }

  // Gates of channels are few.
  void run(pthreadpool_t) override {
    for (std::size_t i = 0; i < numbers_; ++i) out_[i] = std::clamp(in_[i] + 3.0F, 0.0F, 6.0F) / 6.0F;
  }

 private:
  FromTo maps_;
  MapSize size_;
  const float* in_ = nullptr;
  float* out_ = nullptr;
  std::size_t numbers_ = 0;
};

class Mean final : public Step {
 public:
  Mean(FromTo maps, const MapSize& from) : maps_(maps), from_(from) {}

  void prepare(std::size_t images, StepMemory& memory, pthreadpool_t) override {
    in_ = memory.at(maps_.from);
    out_ = memory.at(maps_.to);
    images_ = images;
  }

  void run(pthreadpool_t pool) override {
    const std::size_t channels = from_.channels;
    const std::size_t places = from_.height * from_.width;
    const auto work = [&](std::size_t image) {
      const float* place = in_ + image * places * channels;
      float* const sums = out_ + image * channels;
      std::fill_n(sums, channels, 0.0F);
      for (std::size_t i = 0; i < places; ++i, place += channels) {
        std::size_t c = 0;
        for (; c + kLanes <= channels; c += kLanes) add_lanes(place + c, sums + c);
        for (; c < channels; ++c) sums[c] += place[c];
      }
      for (std::size_t c = 0; c < channels; ++c) sums[c] /= static_cast<float>(places);
    };
    pthreadpool_parallelize_1d(pool, work, images_);
  }

 private:
  FromTo maps_;
  MapSize from_;
  const float* in_ = nullptr;
  float* out_ = nullptr;
  std::size_t images_ = 0;
};

class Scale final : public Step {
 public:
  Scale(FromTo maps, const MapSize& size, std::size_t factors) : maps_(maps), size_(size), factors_map_(factors) {}
  Scale(FromTo maps, const MapSize& size, std::vector<float> factors)
      : maps_(maps), size_(size), constants_(std::move(factors)) {}

  void prepare(std::size_t images, StepMemory& memory, pthreadpool_t) override {
    in_ = memory.at(maps_.from);
    out_ = memory.at(maps_.to);
    factors_ = constants_.empty() ? memory.at(factors_map_) : constants_.data();
    rows_ = images * size_.height;
  }

  void run(pthreadpool_t pool) override {
    const std::size_t channels = size_.channels;
    const auto work = [&](std::size_t row) {
      const float* const factors = factors_ + (constants_.empty() ? row / size_.height * channels : 0);
      const float* in = in_ + row * size_.width * channels;
      float* out = out_ + row * size_.width * channels;
      for (std::size_t i = 0; i < size_.width; ++i, in += channels, out += channels) {
        std::size_t c = 0;
        for (; c + kLanes <= channels; c += kLanes) multiply_lanes(in + c, factors + c, out + c);
        for (; c < channels; ++c) out[c] = in[c] * factors[c];
      }
    };
    pthreadpool_parallelize_1d(pool, work, rows_);
  }

 private:
  FromTo maps_;
  MapSize size_;
  std::size_t factors_map_ = 0;
  std::vector<float> constants_;  // empty: factors are a map
  const float* in_ = nullptr;
  const float* factors_ = nullptr;
  float* out_ = nullptr;
  std::size_t rows_ = 0;
};

}  // namespace

ThreadPool::ThreadPool(int threads) {
  require_success(xnn_initialize(nullptr), "its start");
  if (threads > 1) pool_.reset(pthreadpool_create(static_cast<std::size_t>(threads)));
}

std::unique_ptr<Step> convolution_step(FromTo maps, const MapSize& from, const Window& window, std::size_t groups,
                                       const at::Tensor& weight, const at::Tensor& bias, const Bounds& bounds) {
  return std::make_unique<Convolution>(maps, from, window, groups, weight, bias, bounds);
}

std::unique_ptr<Step> max_pool_step(FromTo maps, const MapSize& from, const Window& window) {
  return std::make_unique<MaxPool>(maps, from, window);
}

std::unique_ptr<Step> unary_step(FromTo maps, const MapSize& size, xnn_unary_operator kind, const Bounds& clamp) {
  return std::make_unique<Unary>(maps, size, kind, clamp);
}

std::unique_ptr<Step> binary_step(std::size_t first, std::size_t second, std::size_t to, const MapSize& size,
                                  xnn_binary_operator kind) {
  return std::make_unique<Binary>(first, second, to, size, kind);
}

std::unique_ptr<Step> hard_sigmoid_step(FromTo maps, const MapSize& size) {
  return std::make_unique<HardSigmoid>(maps, size);
}

std::unique_ptr<Step> mean_step(FromTo maps, const MapSize& from) { return std::make_unique<Mean>(maps, from); }

std::unique_ptr<Step> scale_step(FromTo maps, const MapSize& size, std::size_t factors) {
  return std::make_unique<Scale>(maps, size, factors);
}

std::unique_ptr<Step> scale_step(FromTo maps, const MapSize& size, std::vector<float> factors) {
  return std::make_unique<Scale>(maps, size, std::move(factors));
}

PixelStep::PixelStep(std::size_t to, const MapSize& size, std::vector<float> factors, std::vector<float> shifts)
    : to_(to), size_(size) {
  for (std::size_t i = 0; i < size.width; ++i) {
    factors_.insert(factors_.end(), factors.begin(), factors.end());
    shifts_.insert(shifts_.end(), shifts.begin(), shifts.end());
  }
}

void PixelStep::prepare(std::size_t images, StepMemory& memory, pthreadpool_t) {
  out_ = memory.at(to_);
  rows_ = images * size_.height;
}

void PixelStep::run(pthreadpool_t pool) {
  const std::size_t numbers = size_.width * size_.channels;
  const auto work = [&](std::size_t row) {
    const std::uint8_t* const in = pixels_ + row * numbers;
    float* const out = out_ + row * numbers;
    std::size_t i = 0;
    for (; i + kLanes <= numbers; i += kLanes)
      for (std::size_t lane = 0; lane < kLanes; ++lane)
        out[i + lane] = static_cast<float>(in[i + lane]) * factors_[i + lane] + shifts_[i + lane];
    for (; i < numbers; ++i) out[i] = static_cast<float>(in[i]) * factors_[i] + shifts_[i];
  };
  pthreadpool_parallelize_1d(pool, work, rows_);
}

}  // namespace cskd::compiled
