// A convolutional encoder compiled for the CPU: what scores photos one at a time, or a few.
//
// Note [Compiled networks]
// Where maps are small, LibTorch takes longer to find, check and allocate than to compute: MobileNetV3-Small at 96
// pixels is 150 operations. So the encoder's pass is recorded (export/recording.h) and translated once into steps of
// XNNPACK, the library for networks on small devices that LibTorch contains. Maps lie in one block of memory, channels
// last; activations behind convolutions and padding in front of them are parts of the convolutions. Only networks of
// convolutions, pools and gates are compiled; for others LibTorch's products are what takes the time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "compiled/network_steps.h"
#include "compiled/step_memory.h"
#include "models/encoder.h"

namespace cskd::compiled {

class CompiledNetwork {
 public:
  // The encoder as it is now, on the CPU, folded for inference, its parameters without gradients; it is not needed
  // afterwards. `threads` compute. Throws DataError, naming the operation, for an encoder that cannot be compiled.
  CompiledNetwork(models::Encoder& encoder, int threads);

  // uint8 [n, S, S, 3], contiguous, to pooled features [n, pooled_width] float32, as the encoder's own but for
  // rounding. By one thread at a time.
  at::Tensor pooled(const at::Tensor& pixels);

  int threads() const { return threads_; }

 private:
  int threads_;
  int side_;
  ThreadPool pool_;
  PixelStep* pixels_ = nullptr;  // the first step
  std::vector<std::unique_ptr<Step>> steps_;
  std::unique_ptr<StepMemory> memory_;
  std::size_t output_ = 0;  // map
  std::int64_t width_;
  std::size_t images_ = 0;  // that the steps are prepared for
};

// Median time of one image for an encoder of this structure, with random weights. nullopt: it is not compiled. Throws
// UsageError as models::make_encoder().
std::optional<double> seconds_of_one_image(const std::string& encoder, int image_size, int threads);

}  // namespace cskd::compiled
