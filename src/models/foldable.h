// A part of an encoder that computes less once its weights stand.
#pragma once

namespace cskd::models {

class Foldable {
 public:
  virtual ~Foldable() = default;

  // Replaces its layers, and all below it, by fewer with the same result, with weights and running statistics as they
  // are now. From then on forward() uses these, which differ by rounding: it sees neither later changes of weights nor
  // a move to another device, and throws CheckFailure in training mode.
  virtual void fold() = 0;
};

}  // namespace cskd::models
