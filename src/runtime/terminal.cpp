#include "runtime/terminal.h"

#include <csignal>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "runtime/launch_check.h"

namespace cskd::runtime {
namespace {

// The stream that decides, open for questions: our own, or a copy of the launcher's. -1 when it cannot be had.
class Asked {
 public:
  explicit Asked(Stream stream) {
    const int number = static_cast<int>(stream);
    if (launcher_name(process_environment()) == "none") {
      file_ = ::fcntl(number, F_DUPFD_CLOEXEC, 0);
    } else {
      const std::string path = fmt::format("/proc/{}/fd/{}", ::getppid(), number);
      file_ = ::open(path.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    }
  }
  ~Asked() {
    if (file_ >= 0) ::close(file_);
  }
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;
  int file() const { return file_; }

 private:
  int file_ = -1;
};

}  // namespace

bool is_terminal(Stream stream) { return ::isatty(Asked(stream).file()) == 1; }

bool wants_colours(Stream stream) {
  const char* no_colour = std::getenv("NO_COLOR");
  return (no_colour == nullptr || *no_colour == '\0') && is_terminal(stream);
}

std::string printable(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  for (const char character : text) {
    const auto code = static_cast<unsigned char>(character);
    const bool is_control = (code < 0x20 && character != '\n' && character != '\t') || code == 0x7F;
    shown += is_control ? fmt::format("\\x{:02x}", code) : std::string(1, character);
  }
  return shown;
}

void outlive_pipes() { std::signal(SIGPIPE, SIG_IGN); }

int terminal_columns(Stream stream) {
  struct winsize size {};
  const Asked asked(stream);
  return ::ioctl(asked.file(), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace cskd::runtime
