#include "stages/mix.h"

#include <algorithm>
#include <random>

#include <ATen/ATen.h>

#include "runtime/philox.h"

namespace cskd::stages {

at::Tensor Mix::of(const at::Tensor& rows) const { return share * rows + (1 - share) * rows.roll({offset}, {0}); }

double mix_share(std::uint64_t seed, data::RandomStream stream, std::uint64_t position, double a) {
  runtime::Philox random(seed, stream, position);
  std::gamma_distribution<double> gamma(a);
  const double one = gamma(random);
  const double two = gamma(random);
  return one + two > 0 ? one / (one + two) : 0.5;
}

Mix draw_mix(std::uint64_t seed, std::uint64_t position, std::int64_t pictures, double a) {
  const double share = mix_share(seed, data::kStreamMixedShares, position, a);
  runtime::Philox random(seed, data::kStreamMixedPartners, position);
  const std::int64_t others = std::max<std::int64_t>(1, pictures - 1);
  return {.share = std::max(share, 1 - share),
          .offset = 1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(others))};
}

}  // namespace cskd::stages
