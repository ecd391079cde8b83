// Networks in 8-bit integers: which values are rounded, how far each reaches, and the graph that rounds them.
//
// Note [How a network is quantised]
// Inputs and outputs of convolutions and matrix products with constant weights are rounded to 8 bits, everything else
// stays float32: nodes QuantizeLinear and DequantizeLinear stand around (ONNX's QDQ form), and runtimes that have
// integer kernels fuse them. Weights are int8, one scale for each output channel, without offset; biases int32; other
// values uint8 with one scale and offset each, which reach from the least to the greatest number that calibration
// pictures gave.
//
// A few products lose much of what a network knows: those behind a squeeze, or with channels of very different reach.
// They stay in float32, as many as it takes (stages/rounding_choice.h); what other products read of theirs is rounded.
#pragma once

#include <map>
#include <set>
#include <vector>

#include <ATen/core/Tensor.h>

#include "export/onnx_graph.h"
#include "export/recording.h"

namespace cskd::exporting {

struct Range {
  double low = 0;   // at most 0
  double high = 0;  // at least 0
};
using Ranges = std::map<std::size_t, Range>;  // of values of a recording

// Convolutions and matrix products with constant weights: numbers of operations.
std::vector<std::size_t> products(const Recording& recording);

// Values that are rounded when all products but those of `exact` compute with integers.
std::set<std::size_t> rounded_values(const Recording& recording, const std::set<std::size_t>& exact = {});

struct Rounding {
  Ranges ranges;                // of rounded values
  std::set<std::size_t> exact;  // products that stay in float32
};

// `ranges`: of all rounded_values() without exact ones, or more.
Rounding rounding_of(const Recording& recording, const Ranges& ranges, std::set<std::size_t> exact);

// Gathers ranges over pictures, a batch after the other.
class RangeMeter {
 public:
  explicit RangeMeter(const Recording& recording) : wanted_(rounded_values(recording)) {}
  // As Recording::Change; changes nothing.
  void see(std::size_t value, const at::Tensor& tensor);
  // [2 n] float64, how far each reaches down and up: of several ranks the greatest counts.
  at::Tensor reach() const;
  Ranges ranges(const at::Tensor& reach) const;

 private:
  std::set<std::size_t> wanted_;
  Ranges ranges_;
};

// What the quantised network computes with in place of a value, in float32. As Recording::Change.
at::Tensor rounded(const Recording& recording, const Rounding& rounding, std::size_t value, const at::Tensor& tensor);

// Puts the roundings into the float32 graph of the recording.
void quantise(OnnxGraph& graph, const Recording& recording, const Rounding& rounding);

}  // namespace cskd::exporting
