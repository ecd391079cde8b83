// A trace of what one rank did when, for a viewer: spans on named tracks, in the Trace Event Format that Perfetto
// (https://ui.perfetto.dev) and chrome://tracing open.
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace cskd::runtime {

class Trace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Details = std::vector<std::pair<std::string, std::string>>;

  // How the spans of a track lie to each other.
  enum class Track {
    kNested,      // one thread's: apart, or one within the other
    kOverlapping  // in any way
  };

  // Spans that end after this count; times are told from it on. Any thread, as all of the below.
  void start(Time origin);
  void stop() { is_on_ = false; }
  bool is_on() const noexcept { return is_on_; }

  // `details`: shown with the span.
  void add(const std::string& track, std::string name, Time start, Time end, Details details = {},
           Track kind = Track::kNested);

  // The events, separated by commas, as those of process `rank`; "name" is what the viewer calls it. Forgets them.
  std::string take_events(int rank, const std::string& name);

 private:
  struct Span {
    std::uint64_t track = 0;
    std::string name;
    Time start, end;
    Details details;
    Track kind = Track::kNested;
  };

  std::atomic<bool> is_on_ = false;
  std::mutex mutex_;
  Time origin_;
  std::vector<std::string> tracks_;
  std::vector<Span> spans_;
};

// A file of several ranks' events.
std::string trace_file(const std::vector<std::string>& events_of_ranks);

}  // namespace cskd::runtime
