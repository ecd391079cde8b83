#include "stages/learners.h"

#include <string_view>

namespace cskd::stages {
namespace {

constexpr std::string_view kPartner = "partner.";

training::NamedTensors together(training::NamedTensors first, training::NamedTensors second) {
  for (auto& [name, tensor] : second) first.emplace_back(std::string(kPartner) + name, std::move(tensor));
  return first;
}

bool is_partners(const std::string& name) { return name.starts_with(kPartner); }

std::string own_name(const std::string& name) { return name.substr(kPartner.size()); }

}  // namespace

training::NamedTensors Learners::trainable() { return together(first_->trainable(), second_->trainable()); }
training::NamedTensors Learners::state() { return together(first_->state(), second_->state()); }
training::NamedTensors Learners::average() { return together(first_->average(), second_->average()); }
training::NamedTensors Learners::statistics() { return together(first_->statistics(), second_->statistics()); }

double Learners::rate(const std::string& parameter) const {
  return is_partners(parameter) ? second_->rate(own_name(parameter)) : first_->rate(parameter);
}

bool Learners::decays(const std::string& parameter, const at::Tensor& tensor) const {
  return is_partners(parameter) ? second_->decays(own_name(parameter), tensor) : first_->decays(parameter, tensor);
}

void Learners::use(const models::ComputeSettings& settings) {
  first_->use(settings);
  second_->use(settings);
}

}  // namespace cskd::stages
