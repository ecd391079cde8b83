#include "demo/panel.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/philox.h"

namespace cskd::demo {
namespace {

using runtime::Philox;

constexpr std::uint32_t kRaterStream = 0x4A7E0000;
constexpr std::uint32_t kVoteStream = 0x4A7E0001;
constexpr std::uint64_t kRaters = 400;

constexpr double kMiddle = 5.5;        // score of an image that pleases as much as most
constexpr double kUsualLiking = 0.65;  // mean liking of drawn scenes
constexpr double kScale = 5.4;         // points from no liking to full liking
constexpr double kDoubt = 1.1;         // standard deviation of one vote

struct Rater {
  TasteWeights weights;
  double bias;
  double spread;
};

Rater rater(std::uint64_t seed, std::uint64_t number) {
  Philox random(seed, kRaterStream, number);
  const auto own = [&](double weight) { return weight * random.uniform(0.4, 1.6); };
  Rater one{};
  one.weights = {.composition = own(kMeanTaste.composition),
                 .harmony = own(kMeanTaste.harmony),
                 .contrast = own(kMeanTaste.contrast),
                 .exposure = own(kMeanTaste.exposure),
                 .sharpness = own(kMeanTaste.sharpness),
                 .calm = own(kMeanTaste.calm)};
  one.bias = random.uniform(-1, 1);
  one.spread = random.uniform(0.7, 1.3);
  return one;
}

// Mean 0, standard deviation 1: the sum of twelve uniforms, exact on every machine.
double bell_shaped(Philox& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random.uniform_float();
  return sum;
}

}  // namespace

int Votes::total() const { return std::accumulate(counts.begin(), counts.end(), 0); }

double Votes::mean() const {
  double sum = 0;
  for (int s = 0; s < kScores; ++s) sum += (s + 1.0) * counts[static_cast<size_t>(s)];
  return sum / std::max(1, total());
}

Rating rate(const TasteFactors& factors, std::uint64_t seed, std::uint64_t image) {
  Philox random(seed, kVoteStream, image);
  const double share = random.uniform(0.38, 0.62);  // of the panel that saw this image: about 150 to 250 votes
  Rating rating;
  for (std::uint64_t number = 0; number < kRaters; ++number) {
    const bool votes = random.uniform() < share;
    const double doubt = kDoubt * bell_shaped(random);
    if (!votes) continue;
    const Rater one = rater(seed, number);
    const double score =
        kMiddle + kScale * (liking(factors, one.weights) - kUsualLiking) * one.spread + one.bias + doubt;
    const auto bin = static_cast<size_t>(std::clamp(static_cast<int>(std::lround(score)), 1, kScores) - 1);
    ++rating.all.counts[bin];
    ++(number % 2 == 0 ? rating.first_half : rating.second_half).counts[bin];
  }
  return rating;
}

}  // namespace cskd::demo
