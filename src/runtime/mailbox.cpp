#include "runtime/mailbox.h"

#include <deque>
#include <exception>
#include <mutex>
#include <utility>

#include <mpi.h>

#include "runtime/error.h"

namespace cskd::runtime {

struct Mailbox::Channel {
  struct Sent {
    std::string text;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  explicit Channel(World& with) : world(with) {}

  // Forgets what has left.
  void sweep() {
    while (!sent.empty()) {
      int done = 0;
      if (MPI_Test(&sent.front().request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done == 0) return;
      sent.pop_front();
    }
  }

  World& world;
  const int exceptions = std::uncaught_exceptions();
  MPI_Comm mpi = MPI_COMM_NULL;
  std::mutex mutex;
  std::deque<Sent> sent;  // MPI may still read them
};

Mailbox::Mailbox(World& world) : channel_(std::make_unique<Channel>(world)) {
  if (MPI_Comm_dup(MPI_COMM_WORLD, &channel_->mpi) != MPI_SUCCESS)
    throw Error("MPI_Comm_dup failed: no channel for messages between ranks");
  MPI_Comm_set_errhandler(channel_->mpi, MPI_ERRORS_RETURN);
}

Mailbox::~Mailbox() {
  if (channel_->world.broken() || std::uncaught_exceptions() > channel_->exceptions) {
    channel_->sweep();
    // What is still under way is left to MPI, memory and all.
    if (!channel_->sent.empty()) static_cast<void>(channel_.release());
    return;
  }
  for (Channel::Sent& sent : channel_->sent) MPI_Wait(&sent.request, MPI_STATUS_IGNORE);
  MPI_Comm_free(&channel_->mpi);
}

void Mailbox::send(int rank, int tag, std::string text) {
  const std::lock_guard lock(channel_->mutex);
  channel_->sweep();
  Channel::Sent& sent = channel_->sent.emplace_back();
  sent.text = std::move(text);
  MPI_Isend(sent.text.data(), static_cast<int>(sent.text.size()), MPI_CHAR, rank, tag, channel_->mpi, &sent.request);
}

std::optional<Mailbox::Message> Mailbox::receive(int tag) {
  int there = 0;
  MPI_Message message = MPI_MESSAGE_NULL;
  MPI_Status status;
  if (MPI_Improbe(MPI_ANY_SOURCE, tag, channel_->mpi, &there, &message, &status) != MPI_SUCCESS || there == 0)
    return std::nullopt;
  int length = 0;
  MPI_Get_count(&status, MPI_CHAR, &length);
  Message received{.source = status.MPI_SOURCE, .text = std::string(static_cast<std::size_t>(length), '\0')};
  if (MPI_Mrecv(received.text.data(), length, MPI_CHAR, &message, MPI_STATUS_IGNORE) != MPI_SUCCESS)
    return std::nullopt;
  return received;
}

}  // namespace cskd::runtime
