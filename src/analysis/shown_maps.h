// Attention over a few pictures, for people.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "analysis/findings.h"
#include "batches/batches.h"
#include "data/corpus.h"
#include "models/encoder.h"
#include "run/context.h"

namespace cskd::analysis {

// Pictures that are shown, read and decoded by this rank alone.
class ShownPictures {
 public:
  // At most `count`, evenly over the set; those that cannot be decoded are left out (logged).
  ShownPictures(const run::Context& context, const batches::CheckedCorpus& corpus, const data::SampleSet& samples,
                std::uint64_t count);

  // With thumbnails.
  const std::vector<ShownPicture>& pictures() const { return pictures_; }

  // For encoders with attention the first, the middle and the last layer, otherwise the affinity of its tokens, each as
  // the mean over heads and queries. Empty without pictures, and for a grid of one token.
  std::vector<ShownMap> maps(models::Encoder& encoder) const;

 private:
  at::Tensor pixels(int side) const;  // uint8 [n, side, side, 3]

  const run::Context& context_;
  std::vector<ShownPicture> pictures_;
  std::vector<std::vector<std::byte>> encoded_;
  std::vector<std::pair<int, int>> sizes_;  // width, height
};

}  // namespace cskd::analysis
