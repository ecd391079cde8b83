// One job at a time works in a run folder.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace cskd::runtime {

// Note [Run lock]
// The file run.lock in the folder names the host, process and start of its holder, and has an id that no other one has.
// Many starters may try at the same moment, on hosts that share no more than the file system, and some of those have no
// locks (Lustre mounted without flock, NFS without its lock service). So nothing rests on locks; they only tell sooner.
//
// Taking it. A starter writes a file of its own, run.lock.<id>, and gives it the name run.lock by link(2), which fails
// when that name exists, also between hosts and over NFS (where an answer that got lost is seen by the number of links;
// where there are no hard links, O_EXCL does the same). So a lock appears whole, and one starter wins.
//
// Whether a holder lives. A flock that it holds says yes. If it is of this host, a flock that is free says no, and
// where there are none, its process number and start tell. Otherwise signs of life decide: the holder sets the file's
// time anew every few seconds. It is gone once its last sign is old and none came while that was watched. Ages are
// differences of times that the file server sets (a watcher touches its own file to learn the time), and since some
// file systems set the times of the clients, an old one alone proves nothing: it must also stay the same for longer
// than a holder would leave it. Each look opens the file anew, as NFS answers from memory otherwise.
//
// Taking over. Two may find the same holder gone, so the right to replace it is had but once: the name
// run.lock.after-<id of the gone one>, made by link(2) as above. Who has it looks whether run.lock still is that of the
// gone one (else somebody was quicker, and removed the claim afterwards), and renames its own file to run.lock. One
// that is killed in between leaves its claim, and is taken over like a holder: by a claim after it. NFS clients know by
// the link that they made that the folder changed, so that the look after it is no memory.
//
// A holder that is stopped for longer than stale_after and then goes on is not stopped by this; it says so.
class RunLock {
 public:
  struct Timing {
    std::chrono::milliseconds sign_of_life{std::chrono::seconds(10)};  // time between two
    std::chrono::milliseconds stale_after{std::chrono::seconds(60)};   // age at which a holder counts as gone
    std::chrono::milliseconds poll{std::chrono::milliseconds(500)};
  };
  // The system calls that file systems lack; tests replace them.
  struct Calls {
    int (*flock)(int descriptor, int operation) = nullptr;
    int (*link)(const char* from, const char* to) = nullptr;
  };

  // Takes it; `tell` gets messages for people (a stale lock, a wait), from a thread of its own when the lock is lost.
  // Throws UsageError that names the holder when the folder is in use, Error when the file cannot be made.
  // Failure points: run_lock.write, run_lock.claim (before a claim is made), run_lock.replace (after it).
  RunLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& tell);
  RunLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& tell, Timing timing);
  RunLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& tell, Timing timing,
          Calls calls);
  // Removes the file.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cskd::runtime
