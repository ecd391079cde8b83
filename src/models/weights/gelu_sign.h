// Signs in and beside a weight file of the GELU that its weights were trained with.
#pragma once

#include <optional>
#include <string>

#include "models/encoder_entry.h"
#include "models/weights/weight_file.h"

namespace cskd::models {

struct GeluSign {
  bool is_quick = false;
  std::string reason;  // "its tensor input_resolution ...", as part of a sentence
};

// Note [Which GELU]
// The wrong one changes features by a few per cent, and nothing shows it. A file tells by
//   - OpenAI's tensors of sizes (input_resolution, context_length, vocab_size), which its archives alone hold:
//   QuickGELU
//   - transformers' config.json in its folder: the vision tower's hidden_act, QuickGELU where it is left out
//   - open_clip's open_clip_config.json in its folder: quick_gelu
//   - timm's config.json in its folder: the architecture's name, and the tags of weights that OpenAI, MetaCLIP and DFN
//     published for QuickGELU
// Nothing if it does not tell, or if what lies beside it is none of these.
std::optional<GeluSign> gelu_sign(const WeightFile& file);

// Throws DataError that names the right encoder if the sign contradicts the entry's GELU.
void require_gelu(const WeightFile& file, const EncoderEntry& entry);

}  // namespace cskd::models
