#include "distributed/gradient_reducer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "runtime/check.h"

namespace cskd::distributed {

struct GradientReducer::Bucket {
  at::Tensor flat;
  std::vector<size_t> members;  // positions in State::parameters
  size_t missing = 0;           // members whose gradient has not arrived in this step
  std::unique_ptr<Work> work;
};

struct GradientReducer::State {
  struct Parameter {
    std::string name;
    at::Tensor tensor;
    at::Tensor gradient;  // the view of its bucket
    size_t bucket = 0;
    bool arrived = false;
    std::shared_ptr<torch::autograd::Node> accumulator;  // must live, or its hook never fires
  };

  explicit State(Communicator& with) : communicator(with) {}

  void arrive(size_t index) {
    if (!sending) return;
    Parameter& parameter = parameters[index];
    if (std::exchange(parameter.arrived, true)) return;
    --buckets[parameter.bucket].missing;
    send_complete_ones();
  }

  void send_complete_ones() {
    while (next_bucket < buckets.size() && buckets[next_bucket].missing == 0) send_next();
  }

  void send_next() {
    Bucket& bucket = buckets[next_bucket++];
    bucket.work = communicator.start_all_reduce(bucket.flat, Reduction::kSum);
  }

  Communicator& communicator;
  std::vector<Parameter> parameters;
  std::vector<Bucket> buckets;
  size_t next_bucket = 0;
  bool sending = false;
};

GradientReducer::GradientReducer(std::vector<std::pair<std::string, at::Tensor>> parameters, Communicator& communicator,
                                 BucketLimits limits)
    : state_(std::make_shared<State>(communicator)) {
  State& state = *state_;
  for (auto& [name, tensor] : parameters) state.parameters.push_back({std::move(name), tensor});

  std::int64_t room = 0;
  std::vector<std::int64_t> lengths;
  for (size_t i = state.parameters.size(); i-- > 0;) {
    const at::Tensor& tensor = state.parameters[i].tensor;
    const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
    const bool other_type =
        !lengths.empty() &&
        tensor.scalar_type() != state.parameters[state.buckets.back().members[0]].tensor.scalar_type();
    if (bytes > room || other_type) {
      room = state.buckets.empty() ? limits.first_bytes : limits.bytes;
      state.buckets.emplace_back();
      lengths.push_back(0);
    }
    room -= bytes;
    state.buckets.back().members.push_back(i);
    lengths.back() += tensor.numel();
  }
  for (size_t b = 0; b < state.buckets.size(); ++b) {
    Bucket& bucket = state.buckets[b];
    bucket.flat = at::zeros({lengths[b]}, state.parameters[bucket.members[0]].tensor.options().requires_grad(false));
    std::int64_t offset = 0;
    for (const size_t i : bucket.members) {
      State::Parameter& parameter = state.parameters[i];
      parameter.bucket = b;
      // Strides as the parameter's, so that autograd accumulates in place (channels-last weights too).
      parameter.gradient = bucket.flat.as_strided(parameter.tensor.sizes(), parameter.tensor.strides(), offset);
      offset += parameter.tensor.numel();
      parameter.tensor.mutable_grad() = parameter.gradient;
      parameter.accumulator = torch::autograd::impl::grad_accumulator(parameter.tensor);
      // Weak: the hook stays with the parameter when the reducer is gone.
      std::weak_ptr<State> weak = state_;
      parameter.accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
          [weak, i](const torch::autograd::variable_list& outputs, const torch::autograd::variable_list&) {
            if (const std::shared_ptr<State> alive = weak.lock()) alive->arrive(i);
            return outputs;
          }));
    }
  }
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::start_step() {
  State& state = *state_;
  for (Bucket& bucket : state.buckets) {
    bucket.flat.zero_();
    bucket.missing = bucket.members.size();
    bucket.work.reset();
  }
  for (State::Parameter& parameter : state.parameters) {
    CSKD_CHECK(parameter.tensor.grad().defined() && parameter.tensor.grad().data_ptr() == parameter.gradient.data_ptr(),
               "the gradient of {} was replaced", parameter.name);
    parameter.arrived = false;
  }
  state.next_bucket = 0;
  state.sending = false;
}

void GradientReducer::expect_last_backward() { state_->sending = true; }

ReduceStatistics GradientReducer::finish_step() {
  State& state = *state_;
  const auto start = std::chrono::steady_clock::now();
  ReduceStatistics statistics;
  for (const State::Parameter& parameter : state.parameters) {
    if (!parameter.arrived) statistics.unused.push_back(parameter.name);
  }
  while (state.next_bucket < state.buckets.size()) state.send_next();
  for (Bucket& bucket : state.buckets) {
    bucket.work->wait();
    bucket.work.reset();
  }
  state.sending = false;
  statistics.exposed_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return statistics;
}

double GradientReducer::gradient_norm() const {
  double sum = 0;
  for (const Bucket& bucket : state_->buckets) {
    const double norm = bucket.flat.norm().item<double>();
    sum += norm * norm;
  }
  return std::sqrt(sum);
}

void GradientReducer::scale(double factor) {
  for (Bucket& bucket : state_->buckets) bucket.flat.mul_(factor);
}

std::vector<std::vector<std::string>> GradientReducer::layout() const {
  std::vector<std::vector<std::string>> names;
  for (const Bucket& bucket : state_->buckets) {
    names.emplace_back();
    for (const size_t i : bucket.members) names.back().push_back(state_->parameters[i].name);
  }
  return names;
}

}  // namespace cskd::distributed
