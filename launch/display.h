// Everything that rank 0 shows and writes of a run while it goes on: progress on the console, metrics.jsonl and
// TensorBoard events of each training, status.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "config/config.pb.h"
#include "report/goodput.h"
#include "report/metric_log.h"
#include "report/progress.h"
#include "report/status_file.h"
#include "run/run_folder.h"
#include "stages/graph.h"
#include "training/trainer.h"

namespace cskd::launch {

class Display : public training::TrainingObserver {
 public:
  Display(run::RunFolder folder, const config::Config& config, int ranks);

  // The result of a stage lies elsewhere.
  void place(const std::string& stage, const std::filesystem::path& folder) { folder_.elsewhere[stage] = folder; }
  // A stage begins.
  void begin(const stages::Stage& stage);
  // It ended so; `message`: what it failed with. Throws Error when the log of one that did not fail cannot be written.
  void end(report::RunState state, const std::string& message = "");
  // Who is slow, a line each; empty: nobody. Any thread.
  void warn(std::vector<std::string> warnings);
  // A stage that does not train.
  void progress(const std::string& label, std::int64_t done, std::int64_t total);

  void started(std::uint64_t first_step, std::uint64_t steps) override;
  void stepped(const training::StepReport& report) override;
  void tensors(std::uint64_t step, const training::NamedTensors& weights,
               const training::NamedTensors& gradients) override;
  void pictures(std::uint64_t step, const at::Tensor& pictures) override;
  void flush() override;
  void checkpointed(std::uint64_t step) override;

 private:
  template <typename Change>
  void change_status(const Change& change);

  run::RunFolder folder_;
  const config::Config& config_;
  std::string stage_;
  const config::Training* training_ = nullptr;  // of the stage, where it trains
  std::string label_;
  int steps_here_ = 0;  // of this process, in the stage
  std::optional<report::Progress> progress_;
  std::optional<report::MetricLog> metrics_;
  std::mutex mutex_;  // of status_: checkpointed() comes from another thread
  report::Status status_;
  std::optional<report::GoodputMeter> goodput_;    // on rank 0, from the first stage on
  std::optional<report::StatusFile> status_file_;  // on rank 0, from the first stage on
};

}  // namespace cskd::launch
