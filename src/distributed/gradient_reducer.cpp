#include "distributed/gradient_reducer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "distributed/sum_tree.h"
#include "runtime/check.h"

namespace cskd::distributed {

struct GradientReducer::Bucket {
  at::Tensor flat;
  at::Tensor compressed;     // bfloat16, what travels; undefined: flat itself
  TreeSum micro_batches{1};  // elastic: those before the last one
  std::string label;
  std::vector<size_t> members;  // positions in State::parameters
  size_t missing = 0;           // members whose gradient has not arrived in this step
  std::unique_ptr<Work> work;
  std::uint64_t number = 0;  // of the work in the journal
};

struct GradientReducer::State {
  struct Parameter {
    std::string name;
    at::Tensor tensor;
    at::Tensor gradient;  // the view of its bucket
    size_t bucket = 0;
    bool is_used = false;     // a backward pass of the step reached it
    bool is_written = false;  // the view holds a gradient: of this micro-batch where `elastic`, otherwise of the step
    bool arrived = false;     // of the last micro-batch
    std::shared_ptr<torch::autograd::Node> accumulator;  // must live, or its hook never fires
  };

  State(Communicator& with, const ReducerOptions& given) : communicator(with), options(given) {}

  // Note [Gradients move in]
  // Gradients are not zeroed and then added to: a parameter begins a step without one, so autograd gives it the tensor
  // that backward made. That is copied into the view once, and later micro-batches add to the view.
  void move_in(Parameter& parameter) {
    if (std::exchange(parameter.is_written, true)) return;
    const at::NoGradGuard no_gradients;
    parameter.gradient.copy_(parameter.tensor.grad());
    parameter.tensor.mutable_grad() = parameter.gradient;
  }

  void move_out(Parameter& parameter) {
    parameter.tensor.mutable_grad().reset();
    parameter.is_written = false;
  }

  void zero_what_is_not_written(Bucket& bucket) {
    for (const size_t i : bucket.members) {
      Parameter& parameter = parameters[i];
      if (std::exchange(parameter.is_written, true)) continue;
      parameter.gradient.zero_();
      parameter.tensor.mutable_grad() = parameter.gradient;
    }
  }

  void arrive(size_t index) {
    Parameter& parameter = parameters[index];
    parameter.is_used = true;
    move_in(parameter);
    if (!sending || std::exchange(parameter.arrived, true)) return;
    --buckets[parameter.bucket].missing;
    send_complete_ones();
  }

  void send_complete_ones() {
    while (next_bucket < buckets.size() && buckets[next_bucket].missing == 0) send_next();
  }

  void send_next() {
    Bucket& bucket = buckets[next_bucket++];
    const at::NoGradGuard no_gradients;
    zero_what_is_not_written(bucket);
    if (options.elastic) bucket.micro_batches.finish(bucket.flat);
    if (bucket.compressed.defined()) bucket.compressed.copy_(bucket.flat);
    bucket.work = communicator.start_all_reduce(bucket.compressed.defined() ? bucket.compressed : bucket.flat,
                                                options.elastic ? Reduction::kTreeSum : Reduction::kSum, bucket.label);
    bucket.number = communicator.journal().queued();
  }

  BucketTiming timing(const Bucket& bucket) const {
    // Missing times: the step has more collectives than the journal keeps.
    const Collective collective = communicator.journal().collective(bucket.number).value_or(Collective{});
    const Collective::Time ended = collective.ended.value_or(collective.queued);
    return {.label = bucket.label,
            .bytes = collective.bytes,
            .ready = collective.queued,
            .started = std::min(collective.started.value_or(ended), ended),
            .ended = ended};
  }

  Communicator& communicator;
  const ReducerOptions options;
  std::uint64_t micro_batches = 0;  // that were started in this step
  std::vector<Parameter> parameters;
  std::vector<Bucket> buckets;
  size_t next_bucket = 0;
  bool sending = false;
};

double bus_bandwidth(std::uint64_t bytes, double seconds, int ranks) {
  return seconds > 0 ? 2.0 * (ranks - 1) / ranks * static_cast<double>(bytes) / seconds : 0;
}

double ReduceStatistics::overlap() const {
  if (communication_seconds <= 0) return 1;
  return std::clamp(1 - exposed_seconds / communication_seconds, 0.0, 1.0);
}

GradientReducer::GradientReducer(std::vector<std::pair<std::string, at::Tensor>> parameters, Communicator& communicator,
                                 ReducerOptions options)
    : state_(std::make_shared<State>(communicator, options)) {
  CSKD_CHECK(options.micro_batches >= 1 && !(options.elastic && options.compress), "{} micro-batches",
             options.micro_batches);
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
      room = state.buckets.empty() ? options.first_bytes : options.bytes;
      state.buckets.emplace_back();
      lengths.push_back(0);
    }
    room -= bytes;
    state.buckets.back().members.push_back(i);
    lengths.back() += tensor.numel();
  }
  for (size_t b = 0; b < state.buckets.size(); ++b) {
    Bucket& bucket = state.buckets[b];
    const at::ScalarType type = state.parameters[bucket.members[0]].tensor.scalar_type();
    bucket.flat = communicator.allocate(lengths[b], type);
    if (options.compress && type == at::kFloat) bucket.compressed = communicator.allocate(lengths[b], at::kBFloat16);
    if (options.elastic) bucket.micro_batches = TreeSum(options.micro_batches);
    bucket.label =
        fmt::format("bucket {} of {}: {}", b + 1, state.buckets.size(), state.parameters[bucket.members.front()].name);
    if (bucket.members.size() > 1) bucket.label += fmt::format(" and {} more", bucket.members.size() - 1);
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
    bucket.missing = bucket.members.size();
    bucket.work.reset();
  }
  for (State::Parameter& parameter : state.parameters) {
    CSKD_CHECK(parameter.tensor.grad().defined() && parameter.tensor.grad().data_ptr() == parameter.gradient.data_ptr(),
               "the gradient of {} was replaced", parameter.name);
    state.move_out(parameter);
    parameter.arrived = parameter.is_used = false;
  }
  state.next_bucket = 0;
  state.micro_batches = 0;
  state.sending = false;
}

void GradientReducer::start_micro_batch() {
  State& state = *state_;
  CSKD_CHECK(state.micro_batches < state.options.micro_batches, "more than {} micro-batches",
             state.options.micro_batches);
  if (state.options.elastic && state.micro_batches > 0) {
    const at::NoGradGuard no_gradients;
    for (Bucket& bucket : state.buckets) {
      state.zero_what_is_not_written(bucket);
      bucket.micro_batches.add(bucket.flat.clone());
    }
    for (State::Parameter& parameter : state.parameters) state.move_out(parameter);
  }
  state.sending = ++state.micro_batches == state.options.micro_batches;
}

ReduceStatistics GradientReducer::finish_step() {
  State& state = *state_;
  const auto start = std::chrono::steady_clock::now();
  CSKD_CHECK(state.micro_batches == state.options.micro_batches, "{} of {} micro-batches", state.micro_batches,
             state.options.micro_batches);
  ReduceStatistics statistics;
  statistics.buckets.reserve(state.buckets.size());
  for (const State::Parameter& parameter : state.parameters) {
    if (!parameter.is_used) statistics.unused.push_back(parameter.name);
  }
  while (state.next_bucket < state.buckets.size()) state.send_next();
  for (Bucket& bucket : state.buckets) {
    bucket.work->wait();
    bucket.work.reset();
    if (bucket.compressed.defined()) bucket.flat.copy_(bucket.compressed);
  }
  state.sending = false;
  statistics.exposed_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Collective::Time busy_until;
  for (const Bucket& bucket : state.buckets) {
    const BucketTiming& timing = statistics.buckets.emplace_back(state.timing(bucket));
    const Collective::Time from = std::max(timing.started, busy_until);
    if (timing.ended > from)
      statistics.communication_seconds += std::chrono::duration<double>(timing.ended - from).count();
    busy_until = std::max(busy_until, timing.ended);
  }
  return statistics;
}

at::Tensor GradientReducer::bucket_norms() const {
  std::vector<at::Tensor> norms;
  for (const Bucket& bucket : state_->buckets) norms.push_back(bucket.flat.norm());
  return at::stack(norms);
}

double GradientReducer::gradient_norm() const {
  const at::Tensor read = bucket_norms().to(at::kDouble).to(at::kCPU);
  return norm_of_buckets({read.const_data_ptr<double>(), static_cast<std::size_t>(read.numel())});
}

double norm_of_buckets(std::span<const double> norms) {
  double sum = 0;
  for (const double norm : norms) sum += norm * norm;
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
