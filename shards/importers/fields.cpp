#include "shards/importers/fields.h"

#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::shards {
namespace {

constexpr std::string_view kBlanks = " \t";
constexpr size_t kLongestQuote = 60;

template <typename Number>
Number parsed(std::string_view text, const char* expected) {
  const std::string_view digits = trimmed(text);
  Number number{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    throw runtime::DataError(fmt::format("{} is not a {}", in_quotes(digits), expected));
  }
  return number;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!(line = trimmed(line)).empty()) {
    words.push_back(line.substr(0, line.find_first_of(kBlanks)));
    line.remove_prefix(words.back().size());
  }
  return words;
}

double number_of(std::string_view text) {
  const auto number = parsed<double>(text, "number");
  if (!std::isfinite(number)) throw runtime::DataError(fmt::format("{} is not a finite number", in_quotes(text)));
  return number;
}

std::int64_t whole_number_of(std::string_view text) { return parsed<std::int64_t>(text, "whole number"); }

std::string in_quotes(std::string_view text) {
  std::string result = "'";
  for (const char c : text.substr(0, kLongestQuote)) {
    result += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  }
  return result + (text.size() > kLongestQuote ? "...'" : "'");
}

}  // namespace cskd::shards
