// Terms of Stage II against closed forms, and their sum against autograd by hand.
#include "stages/distill_terms.h"

#include <cmath>
#include <set>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace cskd::stages {
namespace {

// Of two bins: squared EMD is the squared difference of the first bins, over 2.
at::Tensor two_bins(std::initializer_list<double> first) {
  const at::Tensor a = at::tensor(at::ArrayRef<double>(first)).to(at::kFloat);
  return at::stack({a, 1 - a}, 1);
}

class DistillTerms : public testing::Test {
 protected:
  DistillTerms() {
    settings_.set_supervised_weight(1);
    settings_.set_pseudo_label_weight(2);
    settings_.set_consistency_weight(3);
    settings_.set_consistency_ramp(0.5);
    input_.student = two_bins({0.5, 0.5, 0.5}).set_requires_grad(true);
    input_.labelled = 1;
    input_.labels = two_bins({0.9});
    input_.teacher = two_bins({0.5, 0.7, 0.1});
    input_.teacher_weight = at::tensor({1.0F, 0.5F, 0.25F});
    input_.average = [this] {
      ++averages_;
      return two_bins({0.6, 0.6, 0.3});
    };
  }

  double value(std::size_t term) { return distill_terms(settings_, {0, 1})[term].compute(input_).item<double>(); }

  config::Distill settings_;
  DistillInput input_;
  int averages_ = 0;
};

TEST_F(DistillTerms, AreTheirClosedForms) {
  EXPECT_NEAR(value(0), 0.16 / 2, 1e-7);  // of the labelled picture alone
  EXPECT_NEAR(value(1), (0.5 * 0.04 + 0.25 * 0.16) / 2 / 3, 1e-7);
  EXPECT_NEAR(value(2), (0.01 + 0.01 + 0.04) / 2 / 3, 1e-7);
}

TEST_F(DistillTerms, ConsistencyRises) {
  const auto weight = distill_terms(settings_, {0, 1})[2].weight;
  EXPECT_DOUBLE_EQ(weight(0, 100), 0);
  EXPECT_DOUBLE_EQ(weight(25, 100), 1.5);
  EXPECT_DOUBLE_EQ(weight(75, 100), 3);
  settings_.set_consistency_ramp(0);
  EXPECT_DOUBLE_EQ(distill_terms(settings_, {0, 1})[2].weight(0, 100), 3);
}

TEST_F(DistillTerms, AddUpByTheirWeights) {
  const DistillLoss sum = add_up(distill_terms(settings_, {0, 1}), input_, 25, 100);
  EXPECT_NEAR(sum.loss.item<double>(), value(0) + 2 * value(1) + 1.5 * value(2), 1e-6);
  ASSERT_EQ(sum.figures.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& [name, figure] = sum.figures[i];
    EXPECT_EQ(name, "train/" + distill_terms(settings_, {0, 1})[i].name);
    EXPECT_FLOAT_EQ(figure.item<float>(), static_cast<float>(value(i)));
    EXPECT_FALSE(figure.requires_grad());
  }
  sum.loss.backward();
  // d/dp of (p - q)^2 / 2 of the first bin; the second one has no part in it, its cumulative sum is always 1.
  const double first = (0.5 - 0.9) + 1.5 * (0.5 - 0.6) / 3;
  EXPECT_NEAR(input_.student.grad()[0][0].item<double>(), first, 1e-6);
}

TEST_F(DistillTerms, WhatCostsAForwardPassIsNotComputedInVain) {
  const DistillLoss sum = add_up(distill_terms(settings_, {0, 1}), input_, 0, 100);
  EXPECT_EQ(averages_, 0);
  EXPECT_EQ(sum.figures[2].second.item<double>(), 0);
  settings_.set_pseudo_label_weight(0);
  EXPECT_GT(add_up(distill_terms(settings_, {0, 1}), input_, 0, 100).figures[1].second.item<double>(), 0)
      << "what costs nothing is logged";
}

TEST_F(DistillTerms, RankCountsPairsThatTeachersTellApart) {
  settings_.mutable_rank()->set_weight(1);
  settings_.mutable_rank()->set_margin(0.3);
  // Mean scores with bins 0 and 1, as teachers have them: 0.5, 0.3, 0.9. Pairs: 2 over 0, 2 over 1; 0 and 1 differ by
  // too little.
  input_.student = two_bins({0.5, 0.8, 0.1}).set_requires_grad(true);  // scores 0.5, 0.2, 0.9
  const std::vector<DistillTerm> terms = distill_terms(settings_, {0, 1});
  ASSERT_EQ(terms.size(), 4U);
  EXPECT_EQ(terms[3].name, "rank");
  const double expected = (std::log1p(std::exp(-0.4)) + std::log1p(std::exp(-0.7))) / 2;
  EXPECT_NEAR(terms[3].compute(input_).item<double>(), expected, 1e-6);
  // A picture whose answer does not count makes no pair.
  input_.teacher_weight = at::tensor({0.0F, 0.5F, 0.25F});
  EXPECT_NEAR(terms[3].compute(input_).item<double>(), std::log1p(std::exp(-0.7)), 1e-6);
  // No pair at all: nothing to learn, and no NaN.
  input_.teacher_weight = at::zeros({3});
  const at::Tensor none = terms[3].compute(input_);
  EXPECT_EQ(none.item<double>(), 0);
  none.backward();
  EXPECT_TRUE(at::isfinite(input_.student.grad()).all().item<bool>());
}

TEST_F(DistillTerms, MixedPicturesAreExpectedToBeMixedAlike) {
  settings_.mutable_mix()->set_weight(1);
  input_.mix = {.share = 0.75, .offset = 1};
  input_.mixed = [] { return two_bins({0.5, 0.5, 0.5}); };
  const std::vector<DistillTerm> terms = distill_terms(settings_, {0, 1});
  ASSERT_EQ(terms.size(), 4U);
  EXPECT_EQ(terms[3].name, "mix");
  // Wanted 0.9 (a label), 0.7, 0.1 with weights 1, 0.5, 0.25; each mixed with the one before it.
  const double first = (0.75 + 0.25 * 0.25) * std::pow(0.75 * 0.9 + 0.25 * 0.1 - 0.5, 2);
  const double second = (0.75 * 0.5 + 0.25) * std::pow(0.75 * 0.7 + 0.25 * 0.9 - 0.5, 2);
  const double third = (0.75 * 0.25 + 0.25 * 0.5) * std::pow(0.75 * 0.1 + 0.25 * 0.7 - 0.5, 2);
  EXPECT_NEAR(terms[3].compute(input_).item<double>(), (first + second + third) / 2 / 3, 1e-7);
}

TEST_F(DistillTerms, ThePartnersAnswersCountOnUnlabelledPictures) {
  settings_.set_partner("align.other");
  settings_.set_partner_weight(4);
  input_.partner = two_bins({0.9, 0.2});
  const std::vector<DistillTerm> terms = distill_terms(settings_, {0, 1});
  ASSERT_EQ(terms.size(), 4U);
  EXPECT_EQ(terms[3].name, "partner");
  EXPECT_EQ(terms[3].weight(0, 100), 4);
  const at::Tensor value = terms[3].compute(input_);
  EXPECT_NEAR(value.item<double>(), (0.16 + 0.09) / 2 / 2, 1e-7);
  value.backward();
  EXPECT_EQ(input_.student.grad()[0].abs().sum().item<double>(), 0);
}

TEST_F(DistillTerms, AttentionIsThatOfTheModelWhoseAttentionIsKept) {
  settings_.set_attention_of("towers.clip");
  settings_.set_attention_weight(0.5);
  input_.reaches = at::tensor({0.2F, 0.4F, 0.6F}).view({3, 1, 1}).set_requires_grad(true);
  input_.wanted_reaches = at::tensor({0.1F, 0.3F, 0.7F, 0.7F, 0.6F, 0.6F}).view({3, 1, 2});
  const std::vector<DistillTerm> terms = distill_terms(settings_, {0, 1});
  ASSERT_EQ(terms.size(), 4U);
  EXPECT_EQ(terms[3].name, "attention");
  EXPECT_EQ(terms[3].weight(0, 100), 0.5);
  const at::Tensor value = terms[3].compute(input_);
  EXPECT_NEAR(value.item<double>(), (0.5 * 0.1 + 0.3) / 3, 1e-5);
  value.backward();
  EXPECT_NEAR(input_.reaches.grad()[1].item<double>(), -1.0 / 3, 1e-6);
}

TEST(DrawMix, SharesAreAtLeastAHalfAndPartnersAreOthers) {
  double sum = 0;
  std::set<std::int64_t> offsets;
  for (std::uint64_t position = 0; position < 2000; ++position) {
    const Mix mix = draw_mix(1, position, 8, 0.75);
    EXPECT_GE(mix.share, 0.5);
    EXPECT_LE(mix.share, 1);
    sum += mix.share;
    offsets.insert(mix.offset);
  }
  EXPECT_EQ(offsets, (std::set<std::int64_t>{1, 2, 3, 4, 5, 6, 7}));
  // The mean of max(x, 1 - x) with x from Beta(a, a) is 1/2 + 1 / (2 a B(a, 1/2)).
  EXPECT_NEAR(sum / 2000, 0.5 + 0.5 / (0.75 * std::tgamma(0.75) * std::tgamma(0.5) / std::tgamma(1.25)), 0.01);
}

TEST(Mix, TakesTheRowSoManyPlacesBefore) {
  const at::Tensor rows = at::tensor({1.0F, 2.0F, 3.0F, 4.0F});
  EXPECT_TRUE(at::equal((Mix{.share = 0.5, .offset = 1}).of(rows), at::tensor({2.5F, 1.5F, 2.5F, 3.5F})));
  EXPECT_TRUE(at::equal((Mix{.share = 1, .offset = 3}).of(rows), rows));
}

}  // namespace
}  // namespace cskd::stages
