// A detector of ranks that are gone, which ends this process when one is.
//
// Note [Gone, or only silent]
// MPI does not say when a rank is gone: a collective simply waits. Some launchers end the job then, others (plain srun)
// do not. So every rank has a TCP connection to rank 0, and a thread that gives a sign of life every second.
//   * A process that ends, however it does, has its connections closed by its host, at once. Without a goodbye before,
//     its rank is gone.
//   * A host that is switched off, or cut off the network, closes nothing. It is silent, and gone when it was silent
//   for
//     `lost_after`. Less is no loss: a cable that is out for a moment, a process that is stopped by a debugger. Time in
//     which this process itself was stopped does not count.
// Rank 0 tells all others who is gone; where rank 0 is gone, all notice it themselves. Every rank then calls its last
// words (journals), and ends with exit code 1: nothing is left to be done without MPI, and no destructor may run while
// MPI calls are stuck in other threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace cskd::runtime {

class FailureDetector {
 public:
  struct Member {
    int rank = 0;
    int size = 1;
    std::string host;
  };

  // How one rank's text reaches all: World's exchanges, before they are in anybody else's use.
  struct Exchange {
    std::function<std::vector<std::string>(const std::string&)> all_gather;
    std::function<std::string(const std::string&)> broadcast;  // rank 0's text
  };

  // Collective. A rank that cannot reach rank 0 goes on without, and `warnings()` say so.
  FailureDetector(const Member& self, const Exchange& exchange);
  // After say_goodbye() on all ranks, or when this process ends anyway.
  ~FailureDetector();
  FailureDetector(const FailureDetector&) = delete;
  FailureDetector& operator=(const FailureDetector&) = delete;

  // Ranks that are not watched, on rank 0; what others could not reach, there.
  const std::vector<std::string>& warnings() const;

  // Of silence. Default 60 s. REQUIRES: more than 2 s
  void set_lost_after(std::chrono::milliseconds silence);
  // Called, by the detector's thread, with what happened, before the process ends; it has 3 s for it.
  void set_last_words(std::function<void(const std::string&)> last_words);
  // Instead of ending the process, when a rank is gone or failed: for tests. Called once.
  void set_end(std::function<void(int exit_code, const std::string& what)> end);

  // This rank works on alone towards its own end, with an error of its own: losses and failures of others are passed
  // over from now on.
  void stand_aside();
  // This rank failed alone, and ends now: the others end with the same exit code.
  void announce_failure(int exit_code, const std::string& what);
  // This rank has nothing more to exchange: its end is none that others should notice.
  void say_goodbye();

  // A text that goes to rank 0 with this rank's signs of life, if it is not empty. Any thread; asked once a second.
  void set_report(std::function<std::string()> report);
  // What rank 0 does with it; called by the detector's thread, for its own reports too.
  void set_on_report(std::function<void(int rank, const std::string& report)> on_report);

  // The way between rank 0 and another rank.
  struct Link {
    int rank = 0;
    std::string host;
    double round_trip_ms = 0;
    std::uint64_t sent = 0;           // segments
    std::uint64_t retransmitted = 0;  // of them
  };
  // On rank 0: of all ranks that are watched. Any thread.
  std::vector<Link> links() const;

 private:
  class Watcher;
  std::unique_ptr<Watcher> watcher_;
};

}  // namespace cskd::runtime
