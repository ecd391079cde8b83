// Faults of collective operations, for tests: what a bad network, a bad machine or a bug would do.
//
// Armed by the environment, in the form  CSKD_FAULT=<kind>:<number>@<rank>:<action>[:<seconds>]
//   kind    all-reduce, broadcast, all-gather, reduce-scatter, or any
//   number  which operation of that kind on that rank, counted from 1
//   action  delay    it begins so many seconds later
//           drop     it never begins, nor do those behind it, as if its message were lost
//           corrupt  a bit of its result is turned
//           kill     the process ends with SIGKILL
//           throw    it throws Error
// Not armed, it costs a comparison.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cskd::distributed {

enum class FaultAction : std::uint8_t { kDelay, kDrop, kCorrupt, kKill, kThrow };

class FaultInjection {
 public:
  // Reads CSKD_FAULT. Throws UsageError when it is set and malformed.
  explicit FaultInjection(int rank);
  // Of this text; empty: not armed.
  FaultInjection(std::string_view text, int rank);

  // Counts an operation. Delays, kills or throws by itself; returns kDrop or kCorrupt for the caller to do.
  std::optional<FaultAction> strike(std::string_view kind);

 private:
  std::string kind_;  // empty: not armed
  std::uint64_t number_ = 0;
  std::uint64_t count_ = 0;
  FaultAction action_ = FaultAction::kDelay;
  std::chrono::duration<double> delay_{0};
};

}  // namespace cskd::distributed
