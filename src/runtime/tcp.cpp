#include "runtime/tcp.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/error.h"

namespace cskd::runtime {
namespace {

struct FreeInterfaces {
  void operator()(ifaddrs* list) const { ::freeifaddrs(list); }
};
using Interfaces = std::unique_ptr<ifaddrs, FreeInterfaces>;

Interfaces interfaces() {
  ifaddrs* list = nullptr;
  return Interfaces(::getifaddrs(&list) == 0 ? list : nullptr);
}

// The bytes of an address; empty for a family that is neither IPv4 nor IPv6.
std::string address_bytes(const sockaddr* address) {
  if (address != nullptr && address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return {reinterpret_cast<const char*>(&v4->sin_addr), sizeof v4->sin_addr};
  }
  if (address != nullptr && address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    return {reinterpret_cast<const char*>(&v6->sin6_addr), sizeof v6->sin6_addr};
  }
  return {};
}

std::string address_bytes(const std::string& text) {
  std::array<char, sizeof(in6_addr)> bytes{};
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return {bytes.data(), sizeof(in_addr)};
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return {bytes.data(), sizeof(in6_addr)};
  return {};
}

bool has_ended(int error) { return error == ECONNRESET || error == EPIPE || error == ECONNREFUSED; }

}  // namespace

TcpSocket::~TcpSocket() { close(); }

TcpSocket::TcpSocket(TcpSocket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

TcpSocket& TcpSocket::operator=(TcpSocket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

void TcpSocket::close() noexcept {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

bool TcpSocket::receive(std::string& text) {
  std::array<char, 4096> bytes{};
  for (;;) {
    const ssize_t count = ::recv(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count == 0) return false;
    if (count > 0) {
      text.append(bytes.data(), static_cast<std::size_t>(count));
      // At once: an acknowledgement that waits for something to go with it would pass for a slow network. Not lasting.
      const int on = 1;
      ::setsockopt(descriptor_, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    } else if (errno != EINTR) {
      // Whether a host that cannot be reached is gone, time will tell.
      return !has_ended(errno);
    }
  }
}

bool TcpSocket::send(std::string& text) {
  while (!text.empty()) {
    const ssize_t count = ::send(descriptor_, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) {
      text.erase(0, static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      return !has_ended(errno);
    }
  }
  return true;
}

std::optional<TcpSocket::Quality> TcpSocket::quality() const {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(descriptor_, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  return Quality{.round_trip_ms = info.tcpi_rtt / 1000.0,
                 .sent = info.tcpi_data_segs_out,
                 .retransmitted = info.tcpi_total_retrans};
}

TcpSocket listen_anywhere(std::uint16_t& port) {
  // One socket for IPv4 and IPv6, unless the host has no IPv6.
  for (const int family : {AF_INET6, AF_INET}) {
    TcpSocket socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.is_open()) continue;
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    address.ss_family = static_cast<sa_family_t>(family);
    const int off = 0;
    if (family == AF_INET6) ::setsockopt(socket.descriptor(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    const socklen_t bound = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    if (::bind(socket.descriptor(), reinterpret_cast<sockaddr*>(&address), bound) != 0) continue;
    if (::listen(socket.descriptor(), SOMAXCONN) != 0) continue;
    if (::getsockname(socket.descriptor(), reinterpret_cast<sockaddr*>(&address), &size) != 0) continue;
    port = ntohs(family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                    : reinterpret_cast<const sockaddr_in&>(address).sin_port);
    return socket;
  }
  throw_system_error("cannot listen for other ranks", errno);
}

std::optional<TcpSocket> accept_one(const TcpSocket& listening) {
  const int descriptor = ::accept4(listening.descriptor(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  return TcpSocket(descriptor);
}

std::vector<std::string> host_addresses() {
  std::vector<std::string> found;
  const Interfaces list = interfaces();
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* each = list.get(); each != nullptr; each = each->ifa_next) {
      if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != family) continue;
      if ((each->ifa_flags & IFF_UP) == 0 || (each->ifa_flags & IFF_LOOPBACK) != 0) continue;
      const std::string bytes = address_bytes(each->ifa_addr);
      // A link-local address is no use without its interface.
      if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<sockaddr_in6*>(each->ifa_addr)->sin6_addr))
        continue;
      std::array<char, INET6_ADDRSTRLEN> text{};
      if (::inet_ntop(family, bytes.data(), text.data(), text.size()) != nullptr) found.emplace_back(text.data());
    }
  }
  return found;
}

std::vector<std::string> nearest_first(std::vector<std::string> theirs) {
  const Interfaces list = interfaces();
  const auto is_near = [&](const std::string& text) {
    const std::string address = address_bytes(text);
    for (const ifaddrs* each = list.get(); each != nullptr; each = each->ifa_next) {
      const std::string own = address_bytes(each->ifa_addr);
      const std::string mask = address_bytes(each->ifa_netmask);
      if (own.empty() || own.size() != address.size() || mask.size() != own.size()) continue;
      bool equal = true;
      for (std::size_t i = 0; i < own.size(); ++i) equal = equal && ((own[i] ^ address[i]) & mask[i]) == 0;
      if (equal) return true;
    }
    return false;
  };
  std::stable_partition(theirs.begin(), theirs.end(), is_near);
  return theirs;
}

TcpSocket connect_to(const std::string& address, std::uint16_t port, std::chrono::milliseconds limit,
                     std::string& problem) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int status = ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found); status != 0) {
    problem = fmt::format("{}: {}", address, ::gai_strerror(status));
    return {};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> target(found, ::freeaddrinfo);
  TcpSocket socket(::socket(target->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  int error = socket.is_open() ? 0 : errno;
  if (error == 0 && ::connect(socket.descriptor(), target->ai_addr, target->ai_addrlen) != 0) error = errno;
  if (error == EINPROGRESS) {
    pollfd waiting{.fd = socket.descriptor(), .events = POLLOUT, .revents = 0};
    int ready = 0;
    do {
      ready = ::poll(&waiting, 1, static_cast<int>(limit.count()));
    } while (ready < 0 && errno == EINTR);
    error = ETIMEDOUT;
    if (ready > 0) {
      socklen_t size = sizeof error;
      ::getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
  }
  if (error == 0) return socket;
  problem = fmt::format("{} port {}: {}", address, port, std::strerror(error));
  return {};
}

}  // namespace cskd::runtime
