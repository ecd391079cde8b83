#include "runtime/watch_message.h"

#include <cstdint>
#include <cstring>

namespace cskd::runtime {

std::string to_bytes(const WatchMessage& message) {
  const auto length = static_cast<std::uint32_t>(message.text.size());
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  bytes += static_cast<char>(message.kind);
  return bytes + message.text;
}

std::optional<WatchMessage> take_message(std::string& arrived) {
  std::uint32_t length = 0;
  constexpr std::size_t kHeader = sizeof length + 1;
  if (arrived.size() < kHeader) return std::nullopt;
  std::memcpy(&length, arrived.data(), sizeof length);
  if (length > kLongestWatchMessage || arrived.size() < kHeader + length) return std::nullopt;
  WatchMessage message{static_cast<WatchMessage::Kind>(arrived[sizeof length]), arrived.substr(kHeader, length)};
  arrived.erase(0, kHeader + length);
  return message;
}

}  // namespace cskd::runtime
