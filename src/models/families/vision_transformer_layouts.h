// Names that other libraries give to the tensors of vision transformers in their weight files.
#pragma once

#include <vector>

#include "models/families/vision_transformer_model.h"
#include "models/weights/weight_layout.h"

namespace cskd::models {

// For open_clip's form: "Hugging Face CLIP" (CLIPModel, CLIPVisionModel) and "timm CLIP" (vit_*_clip_*). For timm's:
// "Hugging Face SigLIP", "Hugging Face ViT" (also DeiT), "Hugging Face DINOv2" with and without registers, "DINOv2"
// (Facebook's own, with registers; those without have timm's names) and "DeiT III", as far as the structure has them.
std::vector<WeightLayout> vision_transformer_layouts(const VisionTransformerStructure& structure);

// "torchvision": vit_b_16 and its like, for timm's form.
WeightLayout torchvision_layout();

}  // namespace cskd::models
