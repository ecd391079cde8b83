#include "tests/support/rank_channel.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace cskd::tests {
namespace {

[[noreturn]] void fail(const std::string& what, int error) {
  throw std::system_error(error, std::generic_category(), what);
}

sockaddr_un address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) fail("socket " + path.native(), ENAMETOOLONG);
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  return address;
}

}  // namespace

RankChannel::~RankChannel() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

RankChannel::RankChannel(RankChannel&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), received_(std::move(other.received_)) {}

RankChannel& RankChannel::operator=(RankChannel&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(received_, other.received_);
  return *this;
}

void RankChannel::send(const nlohmann::json& message) {
  const std::string line = message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t count = ::send(descriptor_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno != EINTR) return;
    if (count > 0) sent += static_cast<std::size_t>(count);
  }
}

bool RankChannel::receive() {
  std::array<char, 65536> bytes{};
  ssize_t count = 0;
  do {
    count = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
  } while (count < 0 && errno == EINTR);
  if (count <= 0) return false;
  received_.append(bytes.data(), static_cast<std::size_t>(count));
  return true;
}

std::optional<nlohmann::json> RankChannel::take() {
  const std::size_t end = received_.find('\n');
  if (end == std::string::npos) return std::nullopt;
  nlohmann::json message = nlohmann::json::parse(received_.substr(0, end));
  received_.erase(0, end + 1);
  return message;
}

int listen_at(const std::filesystem::path& path) {
  const sockaddr_un address = address_of(path);
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) fail("socket " + path.native(), errno);
  if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(descriptor, SOMAXCONN) != 0) {
    const int error = errno;
    ::close(descriptor);
    fail("cannot listen at " + path.native(), error);
  }
  return descriptor;
}

RankChannel connect_at(const std::filesystem::path& path) {
  const sockaddr_un address = address_of(path);
  RankChannel channel(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(channel.descriptor(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail("cannot connect to " + path.native(), errno);
  return channel;
}

}  // namespace cskd::tests
