// The progress of a long job: a bar on a terminal, a plain line every few seconds elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace cskd::report {

// One line of progress, no line end; rate and remaining time from what was done in `elapsed`, where that says
// something:
//   rendering   1,204 of 7,500 images   16 %   312 images/s   20 s left
// `before`: how much of `done` was done earlier.
std::string progress_line(const std::string& label, const std::string& unit, std::int64_t done, std::int64_t total,
                          std::chrono::duration<double> elapsed, std::int64_t before = 0);

// `width` columns, of which `fraction` is full. REQUIRES: 0 <= fraction <= 1
std::string progress_bar(double fraction, int width);

// Writes to stderr. On a terminal it redraws one line at most ten times a second, with a bar that fits its width;
// otherwise it writes a line at most every `plain_interval`, without carriage returns. Not thread-safe.
class Progress {
 public:
  struct Terminal {
    bool is_terminal = false;
    int columns = 80;
    std::function<void(const std::string&)> write;
  };

  // To stderr. `before`: how much is done already, which is not speed.
  Progress(std::string label, std::string unit, std::int64_t before = 0);
  Progress(std::string label, std::string unit, Terminal terminal,
           std::chrono::milliseconds plain_interval = std::chrono::seconds(5), std::int64_t before = 0);
  // Ends the line of the bar.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // The first call with done >= total is the last one that is shown.
  void update(std::int64_t done, std::int64_t total);

 private:
  std::string label_;
  std::string unit_;
  std::int64_t before_;
  Terminal terminal_;
  std::chrono::milliseconds plain_interval_;
  std::chrono::steady_clock::time_point start_;
  std::optional<std::chrono::steady_clock::time_point> last_;
  bool bar_drawn_ = false;
  bool finished_ = false;
};

}  // namespace cskd::report
