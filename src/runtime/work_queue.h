// Work that ranks take as they are ready for it, and the wish to stop, which travels with it.
//
// Note [Work by messages]
// Rank 0 keeps the number of the next item, and a thread of its own gives items to those who ask, whatever its main
// thread does. (One-sided MPI would need no such thread; Open MPI has none over TCP with MPI_THREAD_MULTIPLE.)
//
// Every rank begins with an item that nobody gave it. It asks for more as it begins its last one, so that the answer is
// there when that is done. Answers hold several items while many are left, a share of the rest that becomes smaller
// (guided self-scheduling, Polychronopoulos and Kuck 1987): a rank asks some ten times, not once an item. When fewer
// items than takers are left, nobody asks ahead any more: an item that one holds while another one has nothing to do
// would make all wait. Then an answer is waited for, some 0.1 ms.
//
// A rank that is told to stop (StopSignal) tells rank 0, which tells all others. No rank begins another item after
// that.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "runtime/error.h"
#include "runtime/mailbox.h"
#include "runtime/world.h"

namespace cskd::runtime {

// Thrown on all ranks alike when a signal or a deadline ended work early. Exit code 75.
class Stopped : public Error {
 public:
  explicit Stopped(const std::string& what_was_done)
      : Error("a signal asked to stop while " + what_was_done + "; start again to go on", ExitCode::kRequeue) {}
};

class WorkQueue {
 public:
  struct Options {
    int takers = 1;             // threads of this rank that call next()
    bool heeds_signals = true;  // false: short work whose caller looks at signals itself
  };

  // Items 0 .. total - 1. Collective. `world` must outlive it.
  WorkQueue(World& world, std::int64_t total, Options options);
  WorkQueue(World& world, std::int64_t total) : WorkQueue(world, total, Options{}) {}
  // After finish(), or while an exception ends this rank: it then waits for nobody.
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // An item that no other caller of the job gets; none when all are given, or a stop is wished for. Any thread. Throws
  // Error when rank 0 gives no answer within world.timeout().
  std::optional<std::int64_t> next();

  // Whether a stop is wished for, on any rank as far as is known here: looked at within long items, which may then be
  // left undone. Any thread.
  bool stopping();

  // Collective, when this rank's calls of next() have returned none: throws Stopped on all ranks when any was told to
  // stop. `doing` is for people: "pictures were checked".
  void finish(const std::string& doing);

 private:
  class Server;
  class Client;

  World& world_;
  const bool heeds_signals_;
  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<Server> server_;  // on rank 0; its thread uses the mailbox
  std::unique_ptr<Client> client_;
};

}  // namespace cskd::runtime
