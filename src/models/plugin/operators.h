// The operators that a plug-in's program may call: what encoders of pictures compute with, and nothing that reaches
// files, other memory or other devices. A plug-in is data, not code.
#pragma once

#include <string_view>

namespace cskd::models {

enum class OperatorKind {
  kFresh,      // its result is memory of its own
  kView,       // its result may share memory with its first argument
  kInPlace,    // writes into its first argument and returns it; named after its kFresh form, with "_" behind
  kDropout,    // draws random numbers while a model is trained; argument `train`
  kBatchNorm,  // statistics of the batch while a model is trained; argument `training`
  kAssertion,  // checks and returns nothing
};

struct OperatorRule {
  std::string_view name;  // without "aten::" and overload
  OperatorKind kind = OperatorKind::kFresh;
};

// Null for one that may not be called.
const OperatorRule* find_operator(std::string_view name);

}  // namespace cskd::models
