// Image encoders behind one interface: what Stage I aligns, Stage II distils, and the CLIP towers that teach.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <torch/nn/module.h>

#include "models/statistic_name.h"

namespace cskd::models {

// What is asked of an encoder beside pooled features.
struct Request {
  bool tokens = false;
  // Layers, from 0, whose attention is wanted. REQUIRES: below the shape's attention_layers
  std::vector<int> attention;
};

// What a layer's attention is computed from: softmax(queries keys^T / sqrt(d)) are its maps, of L tokens: class token
// and registers, where there are any, then the patches'. [N, heads, L, d] each.
struct Attention {
  torch::Tensor queries, keys;
};

// What an encoder makes of a batch.
struct Features {
  // [N, pooled_width]; after the final norm and the family's pooling, before any projection or head
  torch::Tensor pooled;
  // [N, grid * grid, token_width], row by row from the top left, without class token and registers; undefined unless
  // asked for
  torch::Tensor tokens;
  std::vector<Attention> attention;  // of the layers that were asked for, in their order
};

struct EncoderShape {
  std::string name;
  int image_size = 0;  // pixels, square input
  int pooled_width = 0;
  int token_width = 0;
  int grid = 0;                 // tokens a side
  int attention_layers = 0;     // whose attention can be asked for; 0: it has none
  std::array<float, 3> mean{};  // of the training pictures, pixels in [0, 1]
  std::array<float, 3> stddev{};
};

class Encoder : public torch::nn::Module {
 public:
  // images: [N, 3, image_size, image_size], pixels in [0, 1], normalised with mean and stddev. Parameters and buffers
  // have the names of the family's home (open_clip below `visual.`, timm), so that weight files need no renaming.
  virtual Features forward(const torch::Tensor& images, const Request& request) = 0;
  Features forward(const torch::Tensor& images) { return forward(images, Request{}); }

  const EncoderShape& shape() const { return shape_; }

  // Stochastic depth (Huang et al., arXiv 1603.09382): in training mode the branch of a block is left out for a picture
  // with a probability that rises evenly with the block, from 0 to `rate`, and what remains is scaled up. 0 at first.
  // REQUIRES: from 0 to below 1
  void set_drop_path(double rate);

  // For inference only: every batch normalisation behind a convolution becomes part of it, parallel branches become one
  // convolution, and linear layers are packed, which takes the memory of their weights again (Note [Packed products]).
  // To be called when the weights, the device and evaluation mode are set.
  void fold_for_inference();

 protected:
  explicit Encoder(EncoderShape shape) : shape_(std::move(shape)) {}

  // The probability of block `block` (from 0) of `blocks`, as timm counts it: rate * block / (blocks - 1).
  double drop_path_of(std::size_t block, std::size_t blocks) const;

  // forward()'s preconditions.
  void require(const torch::Tensor& images, const Request& request) const;

 private:
  EncoderShape shape_;
  double drop_path_ = 0;
};

// The branch of a residual block with each picture's part, along the first dimension, left out with `probability`, and
// the others scaled by 1 / (1 - probability). The branch itself where the probability is 0 or `is_training` is false.
torch::Tensor drop_path(const torch::Tensor& branch, double probability, bool is_training);

// The names of the native encoders: "ViT-B-32", "ViT-B-32-quickgelu", "mobilenetv3_small_100" and so on. make_encoder()
// also knows the plug-ins that were registered (models/plugin/plugin.h).
std::vector<std::string> encoder_names();

// Its shape without the encoder. Throws as make_encoder().
EncoderShape encoder_shape(const std::string& name, int image_size = 0);

// How an encoder's family names its parameters: regular expressions of whole names, for Note [Layers of an encoder].
struct ParameterNames {
  std::string stem;  // before the first block
  // Of a block; its groups are its number, or that of its stage and its own, which is 0 where it is missing.
  std::string block;
  std::string last_norm;  // behind the last block; "" where there is none
  // Class token, registers, embeddings and biases of positions, which do not decay (no_weight_decay() of timm's and
  // open_clip's models). They belong to the stem where they are in no block.
  std::vector<std::string> embeddings;
  // Of an encoder whose names say nothing of depth: the layer of each parameter by its name, in place of the
  // expressions.
  std::map<std::string, int> depths = {};
};
// Throws UsageError as make_encoder().
const ParameterNames& parameter_names(const std::string& encoder);

// Whether it computes with statistics of the batch while it is trained (batch normalisation). Throws UsageError.
bool normalises_batches(const std::string& name);

// Whether set_drop_path() has an effect. Throws UsageError.
bool has_drop_path(const std::string& name);

// A new encoder with random weights of LibTorch's default generator, initialised as its home does; with weights that
// are to be filled, or with none at all, under a ConstructionGuard. image_size 0 takes the encoder's own. Throws
// UsageError: an unknown name (with the nearest ones), an image size that its structure cannot take.
std::shared_ptr<Encoder> make_encoder(const std::string& name, int image_size = 0);

}  // namespace cskd::models
