// Runs a prepared program: each call goes through PyTorch's dispatcher, as Python's would, so that gradients, automatic
// casts and devices work.
#pragma once

#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/plugin/prepared_program.h"

namespace cskd::models {

// Not thread-safe.
class ProgramRunner {
 public:
  explicit ProgramRunner(PreparedProgram program) : program_(std::move(program)) {}

  const PreparedProgram& program() const { return program_; }
  // Takes another one, as take_inference_form() makes it.
  void set_program(PreparedProgram program);

  // `inputs`: tensors of program().inputs in their order, an undefined one for the images. The results are outputs in
  // their order. Throws c10::Error as the operators do.
  std::vector<at::Tensor> run(const at::Tensor& images, std::span<const at::Tensor> inputs, bool is_training);

 private:
  void compute(const Call& call, std::vector<c10::IValue>& values, const at::Device& device, bool is_training);
  void compute_fixed(const std::vector<c10::IValue>& inputs, const at::Device& device);

  PreparedProgram program_;
  std::vector<c10::IValue> fixed_;  // results of fixed calls, by value
  std::optional<at::Device> fixed_on_;
  c10::Stack stack_;
};

}  // namespace cskd::models
