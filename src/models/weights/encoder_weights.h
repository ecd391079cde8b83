// Published weights for an encoder: recognised, checked whole, read straight into its tensors.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/encoder.h"
#include "models/weights/weight_file.h"

namespace cskd::models {

// What was found in a weight file.
struct WeightReport {
  std::string layout;                  // "open_clip", "Hugging Face CLIP"
  std::size_t used = 0;                // tensors of the file
  std::size_t held = 0;                // tensors in the file
  std::vector<std::string> left_out;   // "text tower", "classifier"
  std::vector<std::string> resampled;  // the encoder's tensors that were made from those of another image size
};

// "open_clip ViT-B-16, 150 of 302 tensors used, text tower left out".
std::string sentence(const WeightReport& report, const EncoderShape& shape);

// Fills every parameter and statistic of `encoder` from a safetensors file, or from all files of a
// "*.safetensors.index.json". Names are those of the encoder's home or of one of its entry's layouts, below any of the
// usual prefixes (`visual.`, `module.` and so on): the one that fits best is taken. float16, bfloat16 and float32
// values are converted, tensors that depend on the image size are resampled. Classifiers, projections and text towers
// are left out.
//
// Peak memory is the encoder's own and its largest tensor that needs another type. Throws DataError that names the
// file: tensors that are missing, unexpected or of another shape are listed, with what the file seems to hold; values
// that are not finite (then the encoder's weights are unspecified).
WeightReport load_encoder_weights(Encoder& encoder, const std::filesystem::path& path);

// The same report from names and shapes alone: no value is read. image_size 0 takes the encoder's own. Throws
// UsageError as make_encoder(), DataError as above.
WeightReport examine_encoder_weights(const std::string& encoder, int image_size, const std::filesystem::path& path);

// An encoder that a file holds all tensors of.
struct RecognisedEncoder {
  std::string name;
  WeightReport report;
};

// All encoders that a file fits, those of the same structure one after the other; none: the file is of something else.
// `file` is not read but for its headers.
std::vector<RecognisedEncoder> recognise_encoders(const WeightFile& file);

}  // namespace cskd::models
