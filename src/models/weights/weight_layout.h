// Layouts of published weight files: how the names in a file become the names of an encoder.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cskd::models {

// Rows begin/of to end/of of a tensor's first dimension.
struct Rows {
  int begin = 0;
  int end = 1;
  int of = 1;
};

// What becomes of the tensors whose whole name matches `pattern` (a regular expression, ECMAScript).
struct NameRule {
  std::string pattern;
  std::string name;  // the encoder's, with $1 and so on
  // Where a file keeps in one tensor what the encoder keeps in several, or the other way round. Several rules may match
  // the same tensor.
  Rows from = {};      // of the file's tensor
  Rows to = {};        // of the encoder's
  bool flips = false;  // [a, b] becomes [b, a]
  double added = 0;    // to every value: where a constant of the file's library differs from the encoder's
};

// Tensors that a file may hold besides: another tower, a classifier.
struct LeftOut {
  std::string pattern;
  std::string what;  // "text tower"
};

// A tensor of the encoder that is computed from several of a file's, or from a part that is no run of rows.
struct DerivedTensor {
  std::string name;               // the encoder's
  std::vector<std::string> from;  // whole names in the file
  // From float32 tensors; from meta tensors the shape.
  std::function<at::Tensor(const std::vector<at::Tensor>& stored)> make;
};

// Tensors by which files are known that an encoder cannot take.
struct UnusableTensor {
  std::string pattern;
  std::string reason;  // and what to do: "its weights are ...: take ..."
};

struct WeightLayout {
  std::string name;  // "Hugging Face CLIP"
  std::vector<NameRule> rules;
  std::vector<LeftOut> left_out;
  std::vector<DerivedTensor> derived = {};
  // Why such files must not be loaded although their tensors fit, and what to do: "they ...; take encoder '...'". ""
  // where they may.
  std::string refusal = "";
};

}  // namespace cskd::models
