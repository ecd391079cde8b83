// A rank's last collective operations: when each was asked for, begun and done. Written all the time, read
// when something goes wrong.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace cskd::distributed {

// One collective operation of this rank.
struct Collective {
  using Time = std::chrono::steady_clock::time_point;

  std::uint64_t number = 0;  // from 1 on; the same on every rank for the same operation
  std::string kind;          // "all-reduce"
  std::uint64_t bytes = 0;   // of this rank's tensor
  std::string label;         // what for: "bucket 2 of 5: head.weight and 12 more"
  Time queued;
  std::optional<Time> started;  // the backend took it up
  std::optional<Time> ended;
};

// Any thread.
class Journal {
 public:
  explicit Journal(std::size_t capacity = 1000) : capacity_(capacity) {}

  // Returns its number.
  std::uint64_t queue(std::string kind, std::uint64_t bytes, std::string label);
  // Now, or when a device says so afterwards.
  void start(std::uint64_t number, Collective::Time time = std::chrono::steady_clock::now());
  void end(std::uint64_t number, Collective::Time time = std::chrono::steady_clock::now());
  // What the rank does beside collectives, and since when: "data", "backward".
  void enter(std::string phase);

  // Those that are kept, oldest first.
  std::vector<Collective> collectives() const;
  // The oldest one that has not ended.
  std::optional<Collective> pending() const;
  std::uint64_t queued() const;  // number of the last one
  // nullopt: forgotten, or never there.
  std::optional<Collective> collective(std::uint64_t number) const;

  // One line: the last operation and the phase.
  std::string state() const;
  // A table for people, with a title that says where it is from.
  std::string text(const std::string& title) const;

 private:
  const Collective* find(std::uint64_t number) const;
  Collective* find(std::uint64_t number);

  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::uint64_t queued_ = 0;
  std::deque<Collective> collectives_;
  std::string phase_ = "start";
  Collective::Time phase_since_ = std::chrono::steady_clock::now();
};

// "bucket 2", of 4.0 MiB, since 12 s: for messages.
std::string describe(const Collective& collective);

}  // namespace cskd::distributed
