#include "stages/distill_terms.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "losses/alignment.h"
#include "losses/attention.h"
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

at::Tensor partner(const DistillInput& input) {
  const std::int64_t unlabelled = input.student.size(0) - input.labelled;
  return losses::squared_emd(input.student.narrow(0, input.labelled, unlabelled), input.partner).mean();
}

at::Tensor attention(const DistillInput& input) {
  return losses::distance_of_moments(input.reaches, input.wanted_reaches);
}

at::Tensor mix(const DistillInput& input) {
  const std::int64_t unlabelled = input.student.size(0) - input.labelled;
  const at::Tensor wanted = at::cat({input.labels, input.teacher.narrow(0, input.labelled, unlabelled)});
  const at::Tensor weights = at::cat({at::ones({input.labelled}, input.teacher_weight.options()),
                                      input.teacher_weight.narrow(0, input.labelled, unlabelled)});
  return (input.mix.of(weights) * losses::squared_emd(input.mixed(), input.mix.of(wanted))).mean();
}

// From 0 to `weight` over this share of the training.
std::function<double(std::uint64_t, std::uint64_t)> rising(double weight, double share) {
  return [weight, share](std::uint64_t step, std::uint64_t steps) {
    const double ramp = share * static_cast<double>(steps);
    return weight * (ramp > 0 ? std::min(1.0, static_cast<double>(step) / ramp) : 1.0);
  };
}

}  // namespace

std::vector<DistillTerm> distill_terms(const config::Distill& settings, const std::vector<double>& bin_centres) {
  const auto constant = [](double weight) { return [weight](std::uint64_t, std::uint64_t) { return weight; }; };
  std::vector<DistillTerm> terms{
      {.name = "supervised", .weight = constant(settings.supervised_weight()), .compute = supervised},
      {.name = "pseudo_label", .weight = constant(settings.pseudo_label_weight()), .compute = pseudo_label},
      {.name = "consistency",
       .weight = rising(settings.consistency_weight(), settings.consistency_ramp()),
       .compute = consistency,
       .is_costly = true}};
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
  if (settings.mix().weight() > 0) {
    terms.push_back({.name = "mix",
                     .weight = rising(settings.mix().weight(), settings.mix().ramp()),
                     .compute = mix,
                     .is_costly = true});
  }
  if (!settings.attention_of().empty())
    terms.push_back({.name = "attention", .weight = constant(settings.attention_weight()), .compute = attention});
  if (!settings.partner().empty())
    terms.push_back({.name = "partner", .weight = constant(settings.partner_weight()), .compute = partner});
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
