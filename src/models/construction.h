// The way in which modules that this thread makes come by their first values.
#pragma once

#include <optional>

#include <c10/core/impl/LocalDispatchKeySet.h>

namespace cskd::models {

enum class Construction {
  kRandom,  // as the module draws them
  kUnset,   // memory that nobody has written: for weights that a file will fill
  kShapes,  // no memory at all (PyTorch's meta device): names and shapes
};

// While it lives, tensors that this thread makes are made so. Draws of random numbers in place are left out, and
// random numbers are not used up; with kShapes every new tensor is on the meta device.
class ConstructionGuard {
 public:
  explicit ConstructionGuard(Construction construction);
  ~ConstructionGuard();
  ConstructionGuard(const ConstructionGuard&) = delete;
  ConstructionGuard& operator=(const ConstructionGuard&) = delete;

 private:
  Construction previous_;
  std::optional<c10::impl::IncludeDispatchKeyGuard> mode_;
};

}  // namespace cskd::models
