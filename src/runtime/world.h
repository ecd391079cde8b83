// The processes of one job: MPI start and end, ranks, nodes, and small host-side exchanges. A world of one is the
// smallest world, and every call works in it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/failure_detector.h"

namespace cskd::runtime {

class World {
 public:
  // Starts MPI with MPI_THREAD_MULTIPLE, under mpirun, under srun or without any launcher. Once per process. Throws
  // UsageError when the launcher's environment contradicts the size that MPI reports (see launch_check.h), Error when
  // MPI cannot start. `may_be_alone`: as of check_launch(). All ranks must call.
  World(int* argc, char*** argv, bool may_be_alone = false);
  // Ends MPI; waits for the other ranks. A rank that fails alone calls abort() before it comes here.
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }
  int local_rank() const noexcept { return local_rank_; }  // among the ranks of this node
  int local_size() const noexcept { return local_size_; }
  int node() const noexcept { return node_; }  // 0..nodes()-1, in order of their lowest rank
  int nodes() const noexcept { return nodes_; }
  const std::string& host() const noexcept { return host_; }

  // Collective calls: every rank, same order, one thread. Each throws Error, naming itself, when it is not done within
  // timeout(); the world is then broken and only abort() is left.
  void barrier();
  std::vector<std::string> all_gather(const std::string& text);  // entry r is rank r's; any bytes, < 2 GiB in all
  std::string broadcast(const std::string& text);                // rank 0's text
  bool any(bool value);                                          // true on every rank when true on one

  // True after a collective call of this rank timed out: MPI can then not be ended in the ordinary way.
  bool broken() const noexcept { return broken_; }
  // Of the calls above that this rank has begun; any thread may ask.
  std::uint64_t calls() const noexcept { return calls_; }
  // Asked after a time-out; its text goes into the error. Empty: nobody.
  void set_investigation(std::function<std::string()> investigate) { investigate_ = std::move(investigate); }
  // For other users of MPI in this process whose call did not return in time.
  void declare_broken() noexcept { broken_ = true; }
  // The same, with the error that says what was waited for: throws it.
  [[noreturn]] void time_out(const std::string& what);

  // How long a collective call waits for the slowest rank. Default 10 minutes.
  std::chrono::milliseconds timeout() const noexcept { return timeout_; }
  void set_timeout(std::chrono::milliseconds timeout) noexcept { timeout_ = timeout; }

  // For a rank that failed: tells the others and hears theirs, over a channel of its own, so that it may be called
  // wherever the others are. Entry r is rank r's text when all ranks failed and called within `wait`; none otherwise.
  std::optional<std::vector<std::string>> exchange_failures(const std::string& text, std::chrono::milliseconds wait);

  // Ends every process of the job with `exit_code`; for a rank that cannot go on, because of `what`.
  [[noreturn]] void abort(int exit_code, const std::string& what) const;

  // Ends this process when another rank is gone, from here to the end of MPI.
  FailureDetector& failure_detector() const noexcept { return *failure_detector_; }

 private:
  struct Channels;

  std::unique_ptr<Channels> channels_;
  std::atomic<std::uint64_t> calls_ = 0;
  std::function<std::string()> investigate_;
  bool broken_ = false;
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  int node_ = 0;
  int nodes_ = 1;
  std::string host_;
  std::unique_ptr<FailureDetector> failure_detector_;
  std::chrono::milliseconds timeout_{std::chrono::minutes(10)};
};

// What MPI says of itself; valid while a World lives.
std::string mpi_library_version();  // e.g. "Open MPI v4.1.4"
std::string mpi_thread_level();     // e.g. "MPI_THREAD_MULTIPLE"

}  // namespace cskd::runtime
