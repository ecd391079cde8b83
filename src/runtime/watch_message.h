// The messages of the failure detector between rank 0 and another rank.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace cskd::runtime {

struct WatchMessage {
  enum class Kind : char {
    kHello = 'h',    // to rank 0: the job's secret and the rank
    kWelcome = 'w',  // from rank 0: the secret
    kAlive = 'a',    // a sign of life, with a report
    kGoodbye = 'g',
    kEnd = 'e',  // exit code, and what happened: everybody ends
  };

  Kind kind = Kind::kAlive;
  std::string text;
};

constexpr std::size_t kLongestWatchMessage = 1 << 16;

// As it travels: length of the text, kind, text.
std::string to_bytes(const WatchMessage& message);

// The first whole message of what has arrived, taken out of it.
std::optional<WatchMessage> take_message(std::string& arrived);

}  // namespace cskd::runtime
