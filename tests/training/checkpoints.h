// Checkpoints of a few tensors whose numbers tell the step.
#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "training/checkpoint.h"

namespace cskd::training {

inline CheckpointContents contents_of(std::uint64_t step, double srcc = 0) {
  const auto tensor = [&](double offset, std::int64_t numbers) {
    return at::arange(numbers, at::kFloat) + static_cast<double>(step) * 1000 + offset;
  };
  CheckpointContents contents;
  contents.model = {{"conv.weight", tensor(0.25, 600).view({2, 3, 10, 10})}, {"count", at::full({}, 7, at::kLong)}};
  contents.average = {{"conv.weight", tensor(0.5, 600).view({2, 3, 10, 10})}, {"count", at::full({}, 7, at::kLong)}};
  contents.optimizer = {{"exp_avg.conv.weight", tensor(0.75, 600)}};
  contents.metadata = {{"encoder", "none"}};
  contents.state.set_step(step);
  contents.state.set_validated(step);
  (*contents.state.mutable_validation())["validation/srcc"] = srcc;
  (*contents.state.mutable_inputs())["align.training.steps"] = "200";
  return contents;
}

// Whether a checkpoint holds exactly what contents_of(step) gave.
inline bool holds(const LoadedCheckpoint& loaded, std::uint64_t step) {
  const CheckpointContents expected = contents_of(step);
  const auto equal = [](const std::map<std::string, at::Tensor>& found, const NamedTensors& wanted) {
    if (found.size() != wanted.size()) return false;
    for (const auto& [name, tensor] : wanted) {
      if (!found.at(name).equal(tensor)) return false;
    }
    return true;
  };
  return loaded.state.step() == step && equal(loaded.model, expected.model) &&
         equal(loaded.average, expected.average) && equal(loaded.optimizer, expected.optimizer);
}

}  // namespace cskd::training
