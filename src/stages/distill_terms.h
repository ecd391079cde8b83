// The terms that Stage II minimises: a list, each with a name, a weight and a formula.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "config/config.pb.h"
#include "stages/mix.h"

namespace cskd::stages {

// A micro-batch as terms see it: N pictures, the labelled ones first. Distributions have K bins, and rows that sum
// to 1.
struct DistillInput {
  at::Tensor student;         // [N, K], of strong views; with gradients
  std::int64_t labelled = 0;  // pictures with labels
  at::Tensor labels;          // [labelled, K]
  at::Tensor teacher;         // [N, K]
  at::Tensor teacher_weight;  // [N]: how far the teacher's answer counts
  // [N - labelled, D]: what the projector of Stage I makes of the student's features of unlabelled pictures, with
  // gradients, and the features that it is to come to. Only where the term "feature" is there.
  at::Tensor projected, features;
  // [N, K]: what the moving average of the student says of weak views. Costs a forward pass.
  std::function<at::Tensor()> average;
  // [N - labelled, K]: what the other model says of the unlabelled pictures, without gradients. Only where there is
  // one.
  at::Tensor partner;
  // [N, layers, heads]: attention distances of the student, with gradients, and of the model whose attention it keeps.
  // Only where there is one.
  at::Tensor reaches, wanted_reaches;
  // How pictures are mixed, and [N, K], what the student says of the mixed strong views, with gradients. Only where the
  // term "mix" is there. Costs a pass forward and backward.
  Mix mix;
  std::function<at::Tensor()> mixed;
};

struct DistillTerm {
  std::string name;                                                       // logged as "train/<name>"
  std::function<double(std::uint64_t step, std::uint64_t steps)> weight;  // at step 0 to steps - 1
  std::function<at::Tensor(const DistillInput&)> compute;                 // a scalar
  bool is_costly = false;                                                 // not computed where its weight is 0
};

// Of a configuration, in the order in which they are added up:
//   supervised    squared EMD to the labels, of labelled pictures
//   pseudo_label  squared EMD to the teacher's answers, each by its weight
//   consistency   squared EMD to the moving average's answers to weak views; its weight rises with the training
//   feature       smooth L1 and cosine distance of Stage I, of unlabelled pictures
//   rank          pairwise logistic loss of the student's mean scores, of the pairs that teachers tell apart
//   mix           squared EMD of mixed pictures to labels and teacher's answers mixed alike, each by its mixed weight,
//                 labels count in full; its weight rises with the training
//   attention     distance of the moments of attention distances (losses/attention.h)
//   partner       squared EMD to the other model's answers, of unlabelled pictures, in collaborative training
// Those behind consistency are there where their weights are not 0.
std::vector<DistillTerm> distill_terms(const config::Distill& settings, const std::vector<double>& bin_centres);

// The weighted sum of the terms, and each of them as "train/<name>", without gradients, 0 where it was not computed.
struct DistillLoss {
  at::Tensor loss;
  std::vector<std::pair<std::string, at::Tensor>> figures;
};
DistillLoss add_up(const std::vector<DistillTerm>& terms, const DistillInput& input, std::uint64_t step,
                   std::uint64_t steps);

}  // namespace cskd::stages
