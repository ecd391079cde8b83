#include "config/document.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/free_space.h"

namespace cskd::config {
namespace {

using runtime::UsageError;

std::string system_text(int error_number) { return std::generic_category().message(error_number); }

// Length of the UTF-8 sequence that starts at `at`, 0 when it is none: overlong forms, surrogates and numbers above
// U+10FFFF are none (RFC 3629, section 4).
size_t sequence_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  unsigned low = 0x80;
  unsigned high = 0xBF;
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  for (size_t i = 1; i < length; ++i) {
    if (byte(i) < low || byte(i) > high) return 0;
    low = 0x80;
    high = 0xBF;
  }
  return length;
}

void check_text(const std::string& text, const std::string& name) {
  std::int64_t line = 1;
  std::int64_t column = 1;
  for (size_t at = 0; at < text.size();) {
    const size_t length = sequence_length(text, at);
    if (length == 0) {
      throw UsageError(fmt::format("{}:{}:{}: byte 0x{:02x} is not UTF-8; save the file in that encoding", name, line,
                                   column, static_cast<unsigned char>(text[at])));
    }
    if (text[at] == '\0')
      throw UsageError(fmt::format("{}:{}:{}: has a NUL byte; is this a text file?", name, line, column));
    column = text[at] == '\n' ? 1 : column + 1;
    line += text[at] == '\n' ? 1 : 0;
    at += length;
  }
}

}  // namespace

std::string read_document(const std::filesystem::path& path) {
  const std::string& name = path.native();
  // O_NONBLOCK: opening a pipe would wait for its writer.
  const int file = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) throw UsageError(fmt::format("{}: cannot be opened: {}", name, system_text(errno)));
  struct stat status {};
  std::string text;
  std::optional<std::string> problem;
  if (::fstat(file, &status) != 0) {
    problem = system_text(errno);
  } else if (S_ISDIR(status.st_mode)) {
    problem = "is a folder; expected a configuration file in TOML";
  } else if (!S_ISREG(status.st_mode)) {
    problem = "is not a regular file; expected a configuration file in TOML";
  } else if (static_cast<std::uint64_t>(status.st_size) > kLargestDocument) {
    problem = fmt::format("has {}; a configuration has at most {}",
                          runtime::format_bytes(static_cast<std::uint64_t>(status.st_size)),
                          runtime::format_bytes(kLargestDocument));
  } else {
    text.resize(kLargestDocument + 1);  // one more: the file may have grown
    size_t size = 0;
    ssize_t count = 0;
    while (size < text.size() && (count = ::read(file, text.data() + size, text.size() - size)) != 0) {
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        problem = fmt::format("cannot be read: {}", system_text(errno));
        break;
      }
      size += static_cast<size_t>(count);
    }
    text.resize(size);
    if (!problem && size > kLargestDocument) problem = "grew while it was read";
  }
  ::close(file);
  if (problem) throw UsageError(fmt::format("{}: {}", name, *problem));

  check_text(text, name);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

}  // namespace cskd::config
