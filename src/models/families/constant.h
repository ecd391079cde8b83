// A tensor that follows from an encoder's structure, made on the device and in the type in which it is used.
#pragma once

#include <functional>
#include <utility>

#include <torch/types.h>

namespace cskd::models {

// No buffer of a module: it has no name, and exists only once it is asked for, so that an encoder of shapes alone needs
// none. Not thread-safe.
class Constant {
 public:
  // `make` returns it on the CPU.
  explicit Constant(std::function<torch::Tensor()> make) : make_(std::move(make)) {}

  const torch::Tensor& on(const torch::Device& device, torch::Dtype type) const;

 private:
  std::function<torch::Tensor()> make_;
  mutable torch::Tensor made_;
};

}  // namespace cskd::models
