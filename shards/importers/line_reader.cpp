#include "shards/importers/line_reader.h"

#include <algorithm>

#include <fmt/format.h>

namespace cskd::shards {
namespace {

constexpr size_t kBlock = 256 << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

LineReader::LineReader(const std::filesystem::path& file) : file_(file) {
  refill();
  if (buffer_.starts_with(kByteOrderMark)) next_ = kByteOrderMark.size();
}

void LineReader::refill() {
  buffer_.erase(0, next_);
  next_ = 0;
  const size_t kept = buffer_.size();
  buffer_.resize(kept + std::min<std::uint64_t>(kBlock, file_.size() - read_));
  file_.read_at(read_, std::as_writable_bytes(std::span(buffer_).subspan(kept)));
  read_ += buffer_.size() - kept;
}

bool LineReader::next() {
  size_t end = buffer_.find('\n', next_);
  while (end == std::string::npos && read_ < file_.size() && buffer_.size() - next_ <= kLongestLine) {
    const size_t searched = buffer_.size() - next_;
    refill();
    end = buffer_.find('\n', searched);
  }
  if (next_ == buffer_.size()) return false;
  ++number_;
  line_ = std::string_view(buffer_).substr(next_, std::min(end, buffer_.size()) - next_);
  if (line_.size() > kLongestLine) {
    fail(fmt::format("the line has more than {} bytes: {}", kLongestLine,
                     line_.find('\r') == std::string_view::npos
                         ? "is this a list of images?"
                         : "do its lines end with a carriage return alone? Write it with LF: tr '\\r' '\\n'"));
  }
  next_ += line_.size() + (end == std::string::npos ? 0 : 1);
  if (line_.ends_with('\r')) line_.remove_suffix(1);
  if (line_.find('\0') != std::string_view::npos) fail("a NUL byte: expected a list of images as UTF-8 text");
  return true;
}

std::string LineReader::place(std::uint64_t line) const { return fmt::format("{}:{}", file_.path().native(), line); }

void LineReader::fail(std::string_view what) const { throw runtime::DataError(fmt::format("{}: {}", place(), what)); }

}  // namespace cskd::shards
