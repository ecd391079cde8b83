// The algorithms behind make_optimizer(), a file each.
#pragma once

#include <memory>

#include "optim/optimizer.h"

namespace cskd::optim {

std::unique_ptr<Optimizer> make_adamw(const NamedTensors& parameters, const OptimizerOptions& options);
std::unique_ptr<Optimizer> make_sgd(const NamedTensors& parameters, const OptimizerOptions& options);
std::unique_ptr<Optimizer> make_lamb(const NamedTensors& parameters, const OptimizerOptions& options);
std::unique_ptr<Optimizer> make_lars(const NamedTensors& parameters, const OptimizerOptions& options);

}  // namespace cskd::optim
