#include "stages/distill_terms.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "losses/alignment.h"
#include "losses/distribution.h"

namespace cskd::stages {
namespace {

at::Tensor supervised(const DistillInput& input) {
  return losses::squared_emd(input.student.narrow(0, 0, input.labelled), input.labels).mean();
}

at::Tensor pseudo_label(const DistillInput& input) {
  return (input.teacher_weight * losses::squared_emd(input.student, input.teacher)).mean();
}

at::Tensor feature(const DistillInput& input) {
  return losses::whitened_smooth_l1(input.projected, input.features) +
         losses::cosine_distance(input.projected, input.features);
}

at::Tensor consistency(const DistillInput& input) { return losses::squared_emd(input.student, input.average()).mean(); }

}  // namespace

std::vector<DistillTerm> distill_terms(const config::Distill& settings, const std::vector<double>& bin_centres) {
  const auto constant = [](double weight) { return [weight](std::uint64_t, std::uint64_t) { return weight; }; };
  const auto rising = [weight = settings.consistency_weight(), share = settings.consistency_ramp()](
                          std::uint64_t step, std::uint64_t steps) {
    const double ramp = share * static_cast<double>(steps);
    return weight * (ramp > 0 ? std::min(1.0, static_cast<double>(step) / ramp) : 1.0);
  };
  std::vector<DistillTerm> terms{
      {.name = "supervised", .weight = constant(settings.supervised_weight()), .compute = supervised},
      {.name = "pseudo_label", .weight = constant(settings.pseudo_label_weight()), .compute = pseudo_label},
      {.name = "consistency", .weight = rising, .compute = consistency, .is_costly = true}};
  if (settings.feature_weight() > 0)
    terms.push_back({.name = "feature", .weight = constant(settings.feature_weight()), .compute = feature});
  if (settings.rank().weight() > 0) {
    const auto rank = [centres = at::tensor(at::ArrayRef<double>(bin_centres)).to(at::kFloat),
                       margin = settings.rank().margin()](const DistillInput& input) {
      const at::Tensor on_device = centres.to(input.student.device());
      return losses::rank_distance(losses::mean_score(input.student, on_device),
                                   losses::mean_score(input.teacher, on_device), input.teacher_weight > 0, margin);
    };
    terms.push_back({.name = "rank", .weight = constant(settings.rank().weight()), .compute = rank});
  }
  return terms;
}

DistillLoss add_up(const std::vector<DistillTerm>& terms, const DistillInput& input, std::uint64_t step,
                   std::uint64_t steps) {
  DistillLoss sum;
  for (const DistillTerm& term : terms) {
    const double weight = term.weight(step, steps);
    if (weight == 0 && term.is_costly) {
      sum.figures.emplace_back("train/" + term.name, at::zeros({}, input.student.options()));
      continue;
    }
    const at::Tensor value = term.compute(input);
    sum.figures.emplace_back("train/" + term.name, value.detach());
    sum.loss = sum.loss.defined() ? sum.loss + weight * value : weight * value;
  }
  return sum;
}

}  // namespace cskd::stages
