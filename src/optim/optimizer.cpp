#include "optim/optimizer.h"

#include "optim/algorithms.h"
#include "runtime/check.h"

namespace cskd::optim {

std::unique_ptr<Optimizer> make_optimizer(const NamedTensors& parameters, const OptimizerOptions& options) {
  switch (options.algorithm) {
    case Algorithm::kAdamW:
      return make_adamw(parameters, options);
    case Algorithm::kSgd:
      return make_sgd(parameters, options);
    case Algorithm::kLamb:
      return make_lamb(parameters, options);
    case Algorithm::kLars:
      return make_lars(parameters, options);
  }
  CSKD_CHECK(false, "algorithm {}", static_cast<int>(options.algorithm));
  return nullptr;
}

}  // namespace cskd::optim
