#include "launch/display.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <span>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "data/png_encoder.h"
#include "report/histogram.h"
#include "runtime/error.h"
#include "runtime/launch_check.h"
#include "runtime/unix_time.h"

namespace cskd::launch {
namespace {

// Share of the newest step in the shown rate, so that it follows without jumping.
constexpr double kNewest = 0.1;
constexpr std::int64_t kMostPictures = 8;
constexpr int kWarmSteps = 3;  // of a process; the first ones take longer

double clock_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// What the run's status told before this start; one that cannot be read only costs the sums over earlier starts.
report::GoodputMeter go_on_measuring(const std::filesystem::path& run) {
  const std::string allocation = report::allocation_of_job();
  try {
    if (std::filesystem::exists(report::status_path(run))) {
      const report::Status before = report::read_status(run);
      return {before.goodput, runtime::unix_time() - before.updated, allocation, clock_now()};
    }
  } catch (const runtime::Error& error) {
    spdlog::warn("goodput is measured from this start on: {}", error.what());
  }
  return {std::nullopt, 0, allocation, clock_now()};
}

std::optional<double> figure(const training::StepReport& report, const std::string& name) {
  const auto found = std::ranges::find(report.figures, name, &std::pair<std::string, double>::first);
  return found == report.figures.end() ? std::nullopt : std::optional(found->second);
}

// What mpirun does to a stop that takes a step.
void warn_of_short_grace(double step_seconds) {
  const auto grace = runtime::mpirun_grace(runtime::process_environment());
  if (!grace || step_seconds < *grace) return;
  spdlog::warn(
      "mpirun ends its ranks {:g} s after it passes on SIGTERM or Ctrl-C, but a step takes {:.1f} s: such a stop "
      "writes no checkpoint. Send it SIGUSR1, or set OMPI_MCA_odls_base_sigkill_timeout=60 in its environment",
      *grace, step_seconds);
}

// uint8 [n, S, S, 3], side by side.
data::Image in_a_row(const at::Tensor& pictures) {
  const at::Tensor row =
      pictures.narrow(0, 0, std::min(pictures.size(0), kMostPictures)).to(at::kCPU).permute({1, 0, 2, 3}).contiguous();
  data::Image image{static_cast<int>(row.size(1) * row.size(2)), static_cast<int>(row.size(0)), {}};
  image.rgb.resize(row.nbytes());
  std::memcpy(image.rgb.data(), row.const_data_ptr(), row.nbytes());
  return image;
}

}  // namespace

Display::Display(run::RunFolder folder, const config::Config& config, int ranks)
    : folder_(std::move(folder)), config_(config) {
  status_.ranks = ranks;
}

void Display::begin(const stages::Stage& stage) {
  stage_ = stage.id();
  const bool trains = stage.entry->training != nullptr;
  training_ = trains ? stage.entry->training(config_, stage.name).training : nullptr;
  if (!status_file_) {
    goodput_.emplace(go_on_measuring(folder_.root));
    status_file_.emplace(folder_.root);
  }
  change_status([&](report::Status& status) {
    const int ranks = status.ranks;
    status = {.stage = stage_, .ranks = ranks};
  });
}

void Display::end(report::RunState state, const std::string& message) {
  progress_.reset();
  const bool trained = metrics_.has_value();
  if (metrics_ && state != report::RunState::kFailed) metrics_->flush();
  metrics_.reset();
  label_.clear();
  change_status([&](report::Status& status) {
    if (trained)
      goodput_->end(state == report::RunState::kRunning || state == report::RunState::kFinished, clock_now());
    status.state = state;
    status.message = message;
    status.warnings.clear();
  });
}

void Display::progress(const std::string& label, std::int64_t done, std::int64_t total) {
  const std::string unit = label == "packing" ? "shards" : "images";
  if (label != label_) progress_.emplace(label, unit, done);
  label_ = label;
  progress_->update(done, total);
  change_status([&](report::Status& status) {
    status.step = done;
    status.steps = total;
    status.unit = unit;
  });
}

void Display::started(std::uint64_t first_step, std::uint64_t steps) {
  const bool goes_on = training_->when_full() == config::Training::go_on;
  metrics_.emplace(folder_.stage(stage_), static_cast<std::int64_t>(first_step) + 1,
                   goes_on ? report::OnFailure::kRetry : report::OnFailure::kThrow);
  progress_.emplace(stage_, "steps", static_cast<std::int64_t>(first_step));
  label_ = stage_;
  steps_here_ = 0;
  change_status([&](report::Status& status) {
    goodput_->start(stage_, static_cast<std::int64_t>(first_step), clock_now());
    status.step = static_cast<std::int64_t>(first_step);
    status.steps = static_cast<std::int64_t>(steps);
    status.unit = "steps";
  });
}

void Display::warn(std::vector<std::string> warnings) {
  if (!status_file_) return;
  change_status([&](report::Status& status) { status.warnings = std::move(warnings); });
}

void Display::stepped(const training::StepReport& report) {
  if (++steps_here_ == kWarmSteps) warn_of_short_grace(report.seconds);
  {
    const std::lock_guard lock(mutex_);
    goodput_->step(static_cast<std::int64_t>(report.step), report.kept_seconds, clock_now());
  }
  if (report.step % training_->log_every() == 0 || report.step == report.steps || report.validated) {
    auto figures = report.figures;
    figures.emplace_back("perf/goodput", goodput_->now(clock_now())->share());
    metrics_->write(static_cast<std::int64_t>(report.step), figures);
  }
  progress_->update(static_cast<std::int64_t>(report.step), static_cast<std::int64_t>(report.steps));
  change_status([&](report::Status& status) {
    const double rate = static_cast<double>(report.images) / report.seconds;
    status.images_per_second =
        status.images_per_second ? (1 - kNewest) * *status.images_per_second + kNewest * rate : rate;
    const double images_left = static_cast<double>(report.steps - report.step) * static_cast<double>(report.images);
    status.seconds_left = images_left / *status.images_per_second;
    status.step = static_cast<std::int64_t>(report.step);
    status.loss = figure(report, "train/loss");
    status.skipped_steps = static_cast<std::int64_t>(report.skipped);
    status.damaged_pictures = static_cast<std::int64_t>(figure(report, "data/damaged").value_or(0));
    if (!report.validated) return;
    status.validation = report::Status::Validation{.step = status.step, .figures = {}};
    for (const auto& [name, value] : report.figures) {
      if (name.starts_with("validation/")) status.validation->figures[name] = value;
    }
  });
}

void Display::tensors(std::uint64_t step, const training::NamedTensors& weights,
                      const training::NamedTensors& gradients) {
  for (const auto& [what, tensors] : {std::pair("weights/", &weights), std::pair("gradients/", &gradients)}) {
    for (const auto& [name, tensor] : *tensors) {
      const at::Tensor values = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
      const std::span<const float> span(values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel()));
      metrics_->write_histogram(static_cast<std::int64_t>(step), fmt::format("{}{}", what, name),
                                report::make_histogram(span));
    }
  }
}

void Display::pictures(std::uint64_t step, const at::Tensor& pictures) {
  const data::Image row = in_a_row(pictures);
  metrics_->write_image(static_cast<std::int64_t>(step), "train/pictures", row.width, row.height,
                        data::encode_png(row));
}

void Display::flush() { metrics_->flush(); }

void Display::checkpointed(std::uint64_t step) {
  change_status([&](report::Status& status) {
    status.checkpoint =
        report::Status::Checkpoint{.step = static_cast<std::int64_t>(step), .time = runtime::unix_time()};
  });
}

template <typename Change>
void Display::change_status(const Change& change) {
  if (!status_file_) return;
  const std::lock_guard lock(mutex_);
  change(status_);
  status_.goodput = goodput_->now(clock_now());
  status_file_->set(status_);
}

}  // namespace cskd::launch
