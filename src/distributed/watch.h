// Answers for this rank when another one asks what it is doing, whatever its own main thread is stuck in; and asks.
//
// Note [A hang, and who is to blame]
// A collective operation that does not end says nothing about why. So every rank has a thread with a channel of its own
// that answers with the state of the rank's journal. Whoever waited in vain asks all: ranks whose journal holds the
// operation are in it, the others are what it waits for, and their state says where they are instead. Every rank that
// is asked also writes its journal to <folder>/collectives-rank-<rank>.txt, and so does one that gets a signal.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "distributed/journal.h"
#include "runtime/world.h"

namespace cskd::distributed {

// How long others may take to answer.
constexpr std::chrono::seconds kWaitForAnswers{3};

class Watch {
 public:
  // Collective. All must outlive it.
  Watch(runtime::World& world, const Journal& journal, std::filesystem::path folder);
  // Collective, unless the world is broken.
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Which ranks `slow` waits for, and what they do instead, as text. All ranks write their journals.
  std::string investigate(const Collective& slow);
  // The same for a call of the world that this rank waited for in vain.
  std::string investigate_world();
  // This rank writes its journal. Any thread.
  void write(const std::string& reason);
  // All ranks that live write their journals. Returns what each is doing, a line a rank.
  std::string write_all(const std::string& reason);

 private:
  struct Channel;

  std::unique_ptr<Channel> channel_;
};

}  // namespace cskd::distributed
