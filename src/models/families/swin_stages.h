// The stages that both versions of Swin have: blocks of windows, and between two stages a merging of 2 x 2 patches.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/encoder_entry.h"
#include "models/families/shifted_windows.h"
#include "models/packable_linear.h"

namespace cskd::models {

struct SwinSize {
  int width = 0;  // of the first stage; each further one has twice as much
  std::array<int, 4> blocks{};
  std::array<int, 4> heads{};
  int window = 0;  // tokens a side
};

// A block's attention. Registered as "attn".
class WindowAttention : public torch::nn::Module {
 public:
  // windows: [N * windows->count(), windows->tokens(), width] of its place; returns the same shape.
  virtual torch::Tensor forward(const torch::Tensor& windows) = 0;
};

// What a block's attention is made for.
struct AttentionPlace {
  int width = 0;
  int heads = 0;
  std::size_t stage = 0;
  std::shared_ptr<const ShiftedWindows> windows;  // of all blocks of the stage that shift alike
};

// Where the versions differ.
struct SwinVersion {
  // Norms behind attention, MLP and merging, before the sum; they begin at zero in the blocks. Otherwise in front.
  bool has_norms_behind = false;
  std::function<std::shared_ptr<WindowAttention>(const AttentionPlace& place)> attention;
};

// A linear layer as timm initialises it.
std::shared_ptr<PackableLinear> swin_linear(int in, int out, bool has_bias = true);

std::shared_ptr<Encoder> make_swin(const EncoderShape& shape, const SwinSize& size, const SwinVersion& version);

// An entry without `parameters.embeddings`, `resample` and `make`. It reads the files of Swin's authors and
// torchvision's.
EncoderEntry swin_entry(const std::string& name, int image_size, const SwinSize& size);

// Names of the encoder's parameters that its attentions call `parameters`.
std::vector<std::string> in_every_attention(const SwinSize& size, const std::vector<std::string>& parameters);

}  // namespace cskd::models
