#include "training/step_trace.h"

#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "runtime/atomic_file.h"

namespace cskd::training {
namespace {

constexpr const char* kComputeTrack = "computing";

}  // namespace

StepTrace::StepTrace(const TrainerOptions& options, runtime::World& world, distributed::Communicator& communicator)
    : options_(options), world_(world), communicator_(communicator), trace_(options.trace) {}

void StepTrace::enter(const char* phase) {
  leave();
  communicator_.journal().enter(phase);
  phase_ = phase;
  since_ = Clock::now();
}

void StepTrace::leave() {
  if (phase_ != nullptr && trace_ != nullptr) trace_->add(kComputeTrack, phase_, since_, Clock::now());
  phase_ = nullptr;
}

void StepTrace::begin(std::uint64_t first) { first_ = first + options_.trace_after; }

void StepTrace::before_step(std::uint64_t done) {
  if (trace_ == nullptr || options_.trace_steps == 0 || done != first_) return;
  enter("trace");
  const Clock::time_point start = common_moment();
  leave();
  trace_->start(start);
}

StepTrace::Clock::time_point StepTrace::common_moment() {
  constexpr std::int64_t kTimes = 15;
  const at::TensorOptions options(communicator_.device());
  const at::Tensor own = at::empty({kTimes}, at::kDouble);
  for (std::int64_t i = 0; i < kTimes; ++i) {
    const at::Tensor one = at::ones({1}, options);
    communicator_.all_reduce(one, distributed::Reduction::kSum, "clocks");
    static_cast<void>(one.item<float>());  // waits for a GPU
    own[i] = std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
  }
  const at::Tensor first = communicator_.all_gather(own.to(communicator_.device()), "clocks").front().to(at::kCPU);
  const double behind = world_.node() == 0 ? 0 : (own - first).median().item<double>();
  const double moment = first[0].item<double>() + behind;
  return Clock::time_point(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(moment)));
}

bool StepTrace::ends_after(std::uint64_t done, bool is_last) const {
  return trace_ != nullptr && trace_->is_on() && (done == first_ + options_.trace_steps || is_last);
}

void StepTrace::write() {
  trace_->stop();
  const std::string events =
      trace_->take_events(world_.rank(), fmt::format("rank {} on {}", world_.rank(), world_.host()));
  const std::vector<std::string> all = world_.all_gather(world_.rank() < kMostTracedRanks ? events : "");
  if (world_.rank() != 0) return;
  const std::filesystem::path path = options_.folder / "trace.json";
  runtime::write_file_atomically(path, runtime::trace_file(all));
  spdlog::info("a trace of {} steps is in {}: open it at https://ui.perfetto.dev", options_.trace_steps, path.native());
}

void StepTrace::waited_for_data(std::uint64_t micro_batch, Clock::time_point start, double seconds) {
  if (trace_ == nullptr) return;
  trace_->add("waiting for data", fmt::format("micro-batch {}", micro_batch), start,
              start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
}

void StepTrace::step(std::uint64_t number, Clock::time_point start, const distributed::ReduceStatistics& reduced) {
  if (trace_ == nullptr || !trace_->is_on()) return;
  trace_->add(kComputeTrack, fmt::format("step {}", number), start, Clock::now());
  for (const distributed::BucketTiming& bucket : reduced.buckets) {
    trace_->add("communication", bucket.label.substr(0, bucket.label.find(':')), bucket.started, bucket.ended,
                {{"parameters", bucket.label},
                 {"MiB", fmt::format("{:.2f}", static_cast<double>(bucket.bytes) / (1 << 20))},
                 {"bus GB/s", fmt::format("{:.2f}", bucket.bus_bandwidth(world_.size()) / 1e9)},
                 {"ms from ready to started",
                  fmt::format("{:.3f}", 1e3 * std::chrono::duration<double>(bucket.started - bucket.ready).count())}});
  }
}

}  // namespace cskd::training
