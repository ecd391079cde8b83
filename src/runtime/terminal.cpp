#include "runtime/terminal.h"

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

int terminal_columns(Stream stream) {
  struct winsize size {};
  const Asked asked(stream);
  return ::ioctl(asked.file(), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace cskd::runtime
