// The layer of its encoder that a parameter belongs to, for learning rates that fall layer by layer towards the image
// (Clark et al., arXiv 2003.10555; Bao et al., arXiv 2106.08254).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/encoder.h"

namespace cskd::models {

// Note [Layers of an encoder]
// As timm.optim.param_groups_layer_decay counts them, with its fine groups of blocks, from the image on:
//   first   patch or stem convolution and its norm, class token, registers, embeddings of positions, norm before the
//           blocks
//   then    each block: blocks.N (timm's ViT), transformer.resblocks.N (open_clip, to which the rule for timm's ViT is
//           carried over), blocks.S.B (MobileNetV3), layerS.B (ResNet), layers.S.blocks.B (Swin), stages.S.blocks.B
//           (ConvNeXt); what leads from one stage to the next is of the next one's first block, a ViT's or Swin's last
//           norm of the last block's layer; a plug-in's parameters lie in twelve layers by the depth of their first use
//   last    everything else: the head, MobileNetV3's conv_head, SigLIP's attention pool, ConvNeXt's last norm
class LayerOrder {
 public:
  // Names as in weight files, of all that is trained: an encoder's and its head's. Layers without any do not count.
  // `family`: how the encoder names them.
  LayerOrder(const std::vector<std::string>& parameter_names, const ParameterNames& family);

  int layers() const { return layers_; }

  // 0..layers()-1. Throws CheckFailure for a name that the constructor did not get.
  int layer_of(const std::string& name) const;

  // Share of the learning rate: layer_decay ^ (layers() - 1 - layer_of(name)), 1 for the head.
  double rate_share(const std::string& name, double layer_decay) const;

  // Whether a parameter is one of the family's embeddings.
  bool is_embedding(const std::string& name) const;

 private:
  ParameterNames family_;
  std::map<std::string, int> layer_of_;
  int layers_ = 0;
};

}  // namespace cskd::models
