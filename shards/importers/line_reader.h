// Lines of a text file, one after the other, in constant memory: lists of labels have up to 10^7 of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::shards {

class LineReader {
 public:
  static constexpr size_t kLongestLine = 1 << 20;  // bytes

  // Throws Error when the file cannot be opened.
  explicit LineReader(const std::filesystem::path& file);

  // Goes on to the next line; false at the end of the file. Lines end with LF or CRLF, the last one need not; a UTF-8
  // byte order mark at the start belongs to none. Throws DataError for a line with a NUL byte or of more than
  // kLongestLine, Error when the file cannot be read.
  bool next();

  // Without its end; until the next call of next().
  std::string_view line() const { return line_; }
  std::uint64_t number() const { return number_; }  // of the line, from 1
  std::string place() const { return place(number_); }
  std::string place(std::uint64_t line) const;  // "<file>:<line>"

  // Throws DataError("<file>:<line>: <what>").
  [[noreturn]] void fail(std::string_view what) const;

 private:
  void refill();

  runtime::InputFile file_;
  std::uint64_t read_ = 0;  // bytes of the file that went through the buffer or are in it
  std::string buffer_;      // starts with line_
  size_t next_ = 0;         // start of the next line in buffer_
  std::string_view line_;
  std::uint64_t number_ = 0;
};

// What `step` returns; a DataError of it comes out as one of the reader, with the place before its message.
template <typename Reader, typename Step>
auto at_place_of(const Reader& reader, Step step) {
  try {
    return step();
  } catch (const runtime::DataError& error) {
    reader.fail(error.what());
  }
}

}  // namespace cskd::shards
