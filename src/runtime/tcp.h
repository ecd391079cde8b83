// TCP connections between the hosts of a job.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cskd::runtime {

// A socket, closed with its owner. Never blocks.
class TcpSocket {
 public:
  TcpSocket() = default;
  explicit TcpSocket(int descriptor) : descriptor_(descriptor) {}
  ~TcpSocket();
  TcpSocket(TcpSocket&& other) noexcept;
  TcpSocket& operator=(TcpSocket&& other) noexcept;

  bool is_open() const noexcept { return descriptor_ >= 0; }
  int descriptor() const noexcept { return descriptor_; }
  void close() noexcept;

  // What has arrived is added to `text`. False when the other side has ended: its process closed the connection, or its
  // host says that there is none.
  bool receive(std::string& text);
  // As much as there is room for is sent, and taken out of `text`. False as receive().
  bool send(std::string& text);

  struct Quality {
    double round_trip_ms = 0;         // smoothed, as the kernel measures it
    std::uint64_t sent = 0;           // segments with data
    std::uint64_t retransmitted = 0;  // of them, sent again
  };
  // Of the connection, as the kernel knows it.
  std::optional<Quality> quality() const;

 private:
  int descriptor_ = -1;
};

// Listens on a free port of all interfaces. Throws Error.
TcpSocket listen_anywhere(std::uint16_t& port);
// A connection that waits to be taken; none when there is none.
std::optional<TcpSocket> accept_one(const TcpSocket& listening);

// Addresses of this host's interfaces that are up, numeric, IPv4 before IPv6. Without the loopback.
std::vector<std::string> host_addresses();
// `theirs`, those in a network of this host first.
std::vector<std::string> nearest_first(std::vector<std::string> theirs);

// Connects within `limit`; not open, and `problem` says why, when it can't.
TcpSocket connect_to(const std::string& address, std::uint16_t port, std::chrono::milliseconds limit,
                     std::string& problem);

}  // namespace cskd::runtime
