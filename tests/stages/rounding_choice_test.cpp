#include "stages/rounding_choice.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "export/recording.h"

namespace cskd::stages {
namespace {

constexpr std::size_t kLayers = 8;

// A chain of matrix products, and ranges for all of its values.
struct Chain {
  exporting::Recording recording;
  exporting::Ranges ranges;
  std::vector<std::size_t> products;

  Chain() {
    std::vector<at::Tensor> weights;
    for (std::size_t i = 0; i < kLayers; ++i) weights.push_back(torch::eye(4) * 0.5);
    recording = exporting::record(
        [weights](const at::Tensor& images) {
          at::Tensor x = images.flatten(1);
          for (const at::Tensor& weight : weights) x = at::relu(at::addmm(torch::zeros({4}), x, weight));
          return std::vector<at::Tensor>{x};
        },
        torch::zeros({1, 1, 2, 2}));
    for (const std::size_t value : exporting::rounded_values(recording)) ranges[value] = {-1, 1};
    products = exporting::products(recording);
  }
};

// Scores that each rounded product moves by its own cost, one picture up, the next down. Counts its calls.
struct Costs {
  const Chain& chain;
  std::vector<double> costs;
  int calls = 0;

  std::vector<double> operator()(const exporting::Rounding* rounding, bool few) {
    ++calls;
    double squares = 0;
    for (std::size_t i = 0; i < kLayers; ++i) {
      if (rounding != nullptr && !rounding->exact.contains(chain.products[i])) squares += costs[i] * costs[i];
    }
    std::vector<double> scores;
    for (int picture = 0; picture < (few ? 4 : 20); ++picture) {
      const double exact = picture / 2 % 2 == 0 ? 1 : -1;  // of standard deviation 1
      scores.push_back(exact + (picture % 2 == 0 ? 1 : -1) * std::sqrt(squares));
    }
    return scores;
  }
};

std::set<std::size_t> layers(const Chain& chain, std::initializer_list<std::size_t> numbers) {
  std::set<std::size_t> set;
  for (const std::size_t number : numbers) set.insert(chain.products[number]);
  return set;
}

RoundingChoice chosen(const Chain& chain, Costs& costs, double most) {
  return choose_rounding(chain.recording, chain.ranges, most,
                         [&](const exporting::Rounding* rounding, bool few) { return costs(rounding, few); });
}

TEST(Products, AreAllOfTheChain) {
  const Chain chain;
  EXPECT_EQ(chain.products.size(), kLayers);
}

TEST(RoundingOf, HasRangesOfWhatIsRoundedAlone) {
  const Chain chain;
  std::set<std::size_t> all(chain.products.begin(), chain.products.end());
  EXPECT_TRUE(exporting::rounding_of(chain.recording, chain.ranges, all).ranges.empty());
  all.erase(chain.products[3]);
  EXPECT_EQ(exporting::rounding_of(chain.recording, chain.ranges, all).ranges.size(), 2U);  // its input and its output
}

TEST(ChooseRounding, LeavesNothingOutWhereRoundingCostsLittle) {
  const Chain chain;
  Costs costs{chain, {0.01, 0.02, 0.01, 0.02, 0.01, 0.02, 0.01, 0.02}};
  const RoundingChoice choice = chosen(chain, costs, 0.1);
  EXPECT_TRUE(choice.rounding.exact.empty());
  EXPECT_NEAR(choice.deviation, std::sqrt(4 * 0.01 * 0.01 + 4 * 0.02 * 0.02), 1e-12);
  EXPECT_EQ(costs.calls, 2);
}

TEST(ChooseRounding, LeavesOutTheFewestThatCostMost) {
  const Chain chain;
  Costs costs{chain, {0.01, 0.5, 0.01, 0.3, 0.01, 0.2, 0.01, 0.02}};
  RoundingChoice choice = chosen(chain, costs, 0.1);
  EXPECT_EQ(choice.rounding.exact, layers(chain, {1, 3, 5}));
  EXPECT_NEAR(choice.deviation, std::sqrt(4 * 0.01 * 0.01 + 0.02 * 0.02), 1e-12);
  choice = chosen(chain, costs, 0.4);
  EXPECT_EQ(choice.rounding.exact, layers(chain, {1}));
}

TEST(ChooseRounding, LeavesOutAtMostHalf) {
  const Chain chain;
  Costs costs{chain, {1, 2, 3, 4, 5, 6, 7, 8}};
  const RoundingChoice choice = chosen(chain, costs, 0.1);
  EXPECT_EQ(choice.rounding.exact, layers(chain, {4, 5, 6, 7}));
  EXPECT_NEAR(choice.deviation, std::sqrt(1.0 + 4 + 9 + 16), 1e-12);
}

TEST(DeviationOf, IsRelativeToTheSpreadAndLeavesOutUnreadablePictures) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NEAR(deviation_of({1, 3, none}, {1.5, 2.5, none}), 0.5, 1e-12);
  EXPECT_EQ(deviation_of({2, 2}, {2, 2}), 0);
  EXPECT_TRUE(std::isinf(deviation_of({2, 2}, {2, 3})));
  EXPECT_TRUE(std::isnan(deviation_of({2, none}, {2, none})));
}

}  // namespace
}  // namespace cskd::stages
