// The tensors of a weight file beside those of an encoder.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/encoder_entry.h"
#include "models/weights/weight_file.h"

namespace cskd::models {

// A tensor that an encoder needs.
struct WantedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  at::ScalarType type = at::kFloat;
  bool is_constant = false;  // follows from the structure: files may hold it, nobody reads it
};

// Every parameter and buffer of an encoder; of one that was made of shapes alone, too.
std::vector<WantedTensor> wanted_tensors(const Encoder& encoder);

// Rows of a file's tensor that go into rows of an encoder's.
struct Assignment {
  std::string stored;
  std::string wanted;
  Rows from;
  Rows to;
  bool flips = false;
  double added = 0;
  bool is_resampled = false;  // has the shape of another image size
};

// A tensor of the encoder's that is computed from the file's.
struct Derivation {
  std::string wanted;
  std::vector<std::string> stored;
  std::function<at::Tensor(const std::vector<at::Tensor>& stored)> make;
  bool is_resampled = false;
};

struct WeightMatch {
  std::string layout;
  std::string refusal;  // the layout's
  std::string prefix;   // of the tensors' names in the file
  std::vector<Assignment> assignments;
  std::vector<Derivation> derivations;
  std::vector<std::string> left_out;    // what, each once
  std::vector<std::string> missing;     // names of the encoder's
  std::vector<std::string> unexpected;  // names of the file's
  std::vector<std::string> misfits;     // "<name> is [..] instead of [..]", "<name> has I32 values instead of F32"
  std::size_t wanted = 0;

  bool is_complete() const { return missing.empty() && unexpected.empty() && misfits.empty(); }
  // "236 missing (blocks.0.., ...); 2 unexpected (...)".
  std::string faults() const;
};

// The layout and the prefix with which most of the wanted tensors are found.
WeightMatch match_weights(const WeightFile& file, const std::vector<WantedTensor>& wanted, const EncoderEntry& entry);

}  // namespace cskd::models
