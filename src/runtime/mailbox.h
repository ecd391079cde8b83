// Short messages between any two ranks, on a communicator of their own: for threads that must not wait for others.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/world.h"

namespace cskd::runtime {

class Mailbox {
 public:
  struct Message {
    int source = 0;
    std::string text;
  };

  // Collective. `world` must outlive it.
  explicit Mailbox(World& world);
  // Collective, and every message must have been received; unless the world is broken or an exception ends this rank.
  // Waits for nobody then.
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Returns at once, whether or not somebody receives it. Messages from one rank to another one with the same tag keep
  // their order. Any thread.
  void send(int rank, int tag, std::string text);
  // A message of this tag that has arrived, from whichever rank; none when there is none. Any thread.
  std::optional<Message> receive(int tag);

 private:
  struct Channel;
  std::unique_ptr<Channel> channel_;
};

}  // namespace cskd::runtime
