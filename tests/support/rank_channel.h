// Messages between a test and one of its ranks: lines of JSON over a Unix socket.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace cskd::tests {

// Owns a connected socket, which may block.
class RankChannel {
 public:
  explicit RankChannel(int descriptor) : descriptor_(descriptor) {}
  ~RankChannel();
  RankChannel(RankChannel&& other) noexcept;
  RankChannel& operator=(RankChannel&& other) noexcept;

  int descriptor() const noexcept { return descriptor_; }

  // Bytes that are no UTF-8 arrive as U+FFFD. What the other side does not take, because it ended, is lost.
  void send(const nlohmann::json& message);
  // Waits until something arrives. False when the other side has closed or ended.
  bool receive();
  // The next message that has arrived whole; none when there is none.
  std::optional<nlohmann::json> take();

 private:
  int descriptor_;
  std::string received_;
};

// The socket file `path` as listening (its descriptor is the caller's), and a connection to it. Throw
// std::system_error.
int listen_at(const std::filesystem::path& path);
RankChannel connect_at(const std::filesystem::path& path);

}  // namespace cskd::tests
