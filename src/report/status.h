// The status of a run, as the file <run>/status.json that anybody may read while it runs.
//
//   {"version": 1, "state": "running", "stage": "align", "step": 1204, "steps": 7500, "unit": "steps", ...}
//
// Times are Unix seconds of the host that runs. Keys that are not known are passed over; a change of meaning gives
// another version.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "report/goodput.h"

namespace cskd::report {

enum class RunState {
  kRunning,
  kStopped,  // at a checkpoint, as it was asked to; the same command goes on
  kFinished,
  kFailed,
};

struct Status {
  struct Validation {
    std::int64_t step = 0;
    std::map<std::string, double> figures;
    bool operator==(const Validation&) const = default;
  };
  struct Checkpoint {
    std::int64_t step = 0;
    double time = 0;
    bool operator==(const Checkpoint&) const = default;
  };

  RunState state = RunState::kRunning;
  std::string stage;
  std::int64_t step = 0;   // done
  std::int64_t steps = 0;  // of the whole stage; 0: not known
  std::string unit = "steps";
  std::optional<double> images_per_second;
  std::optional<double> seconds_left;
  std::optional<double> loss;            // NaN and infinities are read back as NaN; so in `validation`
  std::optional<Validation> validation;  // the last
  std::optional<Checkpoint> checkpoint;  // the last
  std::int64_t skipped_steps = 0;
  std::int64_t damaged_pictures = 0;  // uses of them
  int ranks = 1;
  std::optional<Goodput> goodput;     // of the training, or the last one
  std::vector<std::string> warnings;  // who is slow, a line each
  std::string message;                // what it failed with

  // By StatusFile.
  std::string host;
  std::int64_t pid = 0;
  std::string process_namespace;  // runtime::process_namespace()
  double started = 0;
  double updated = 0;         // anew every few seconds, whatever happens
  double last_step_time = 0;  // when `step` or `stage` became what it is
  double step_seconds = 0;    // usual time from one step to the next; 0: not known
  double longest_step_seconds = 0;

  bool operator==(const Status&) const = default;
};

std::string_view to_string(RunState state);

// Long texts and many figures are cut short: the result is one that parse_status() takes.
nlohmann::ordered_json to_json(const Status& status);

// `name`: of the file, for messages. Throws DataError when the text is damaged or of a version of the future.
Status parse_status(std::string_view text, const std::string& name);

std::filesystem::path status_path(const std::filesystem::path& run);

// Throws UsageError when there is none, Error when it cannot be read, DataError as parse_status(). Failure point
// status.read.
Status read_status(const std::filesystem::path& run);

}  // namespace cskd::report
