// optimizer_steps INPUT OUTPUT: optimiser steps on given gradients, for optimizer_test.py. INPUT's tensors:
//
//   start.<p>          parameter at first, float32; one of four dimensions is laid out channels last
//   gradients.<p>      [T, ...], its gradient in each step
//   rate.<p>           [1], float64, its share of the learning rate
//   learning_rates     [T], float64
//   state.<s>          what the optimiser's state is at first; zeros where left out
//
// and metadata: algorithm (adamw, sgd, lamb, lars), momentum, beta2, weight_decay, decays_all (0, 1). OUTPUT:
// "parameter.<p>" and "state.<s>" after the last step. Fails if a step changes or replaces a gradient.
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <torch/types.h>

#include "models/safetensors.h"
#include "optim/optimizer.h"

namespace {

using cskd::optim::Algorithm;
using cskd::optim::NamedTensors;
using Tensors = std::map<std::string, torch::Tensor>;

const std::map<std::string, Algorithm> kAlgorithms = {
    {"adamw", Algorithm::kAdamW}, {"sgd", Algorithm::kSgd}, {"lamb", Algorithm::kLamb}, {"lars", Algorithm::kLars}};

NamedTensors parameters_of(const Tensors& input) {
  const std::string prefix = "start.";
  NamedTensors parameters;
  for (const auto& [name, tensor] : input) {
    if (!name.starts_with(prefix)) continue;
    const auto layout = tensor.dim() == 4 ? torch::MemoryFormat::ChannelsLast : torch::MemoryFormat::Contiguous;
    parameters.emplace_back(name.substr(prefix.size()), tensor.clone(layout).requires_grad_());
  }
  return parameters;
}

// Makes each parameter's gradient a view of the bucket that is returned, as in training.
torch::Tensor make_bucket(const NamedTensors& parameters) {
  std::int64_t size = 0;
  for (const auto& [name, parameter] : parameters) size += parameter.numel();
  torch::Tensor bucket = torch::zeros({size});
  std::int64_t offset = 0;
  for (const auto& [name, parameter] : parameters) {
    parameter.mutable_grad() = bucket.as_strided(parameter.sizes(), parameter.strides(), offset);
    offset += parameter.numel();
  }
  return bucket;
}

cskd::optim::OptimizerOptions options_of(const Tensors& input, const std::map<std::string, std::string>& metadata) {
  cskd::optim::OptimizerOptions options{
      .algorithm = kAlgorithms.at(metadata.at("algorithm")),
      .momentum = std::stod(metadata.at("momentum")),
      .beta2 = std::stod(metadata.at("beta2")),
      .weight_decay = std::stod(metadata.at("weight_decay")),
      .rate = [&input](const std::string& name) { return input.at("rate." + name).item<double>(); }};
  if (metadata.at("decays_all") == "1") options.decays = [](const std::string&, const torch::Tensor&) { return true; };
  return options;
}

void run(const std::string& input_path, const std::string& output_path) {
  const Tensors input = cskd::models::read_safetensors(input_path);
  const NamedTensors parameters = parameters_of(input);
  const torch::Tensor bucket = make_bucket(parameters);
  const auto optimizer = cskd::optim::make_optimizer(
      parameters, options_of(input, cskd::models::read_safetensors_header(input_path).metadata));
  for (const auto& [name, tensor] : optimizer->state()) {
    if (const auto found = input.find("state." + name); found != input.end()) tensor.copy_(found->second);
  }

  const torch::Tensor rates = input.at("learning_rates");
  for (std::int64_t step = 0; step < rates.numel(); ++step) {
    for (const auto& [name, parameter] : parameters) parameter.grad().copy_(input.at("gradients." + name)[step]);
    const torch::Tensor before = bucket.clone();
    optimizer->step(rates[step].item<double>());
    bool kept = torch::equal(bucket, before);
    for (const auto& [name, parameter] : parameters) kept = kept && parameter.grad().is_alias_of(bucket);
    if (!kept) throw std::runtime_error("a step changed or replaced a gradient");
  }

  NamedTensors output;
  for (const auto& [name, parameter] : parameters) output.emplace_back("parameter." + name, parameter.detach());
  for (const auto& [name, tensor] : optimizer->state()) output.emplace_back("state." + name, tensor);
  cskd::models::write_safetensors(output_path, output, {});
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 3) throw std::runtime_error("the arguments are described at the top of optimizer_steps.cpp");
    run(argv[1], argv[2]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "optimizer_steps: %s\n", error.what());
    return 1;
  }
}
