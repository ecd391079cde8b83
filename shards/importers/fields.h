// Words and numbers of a line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cskd::shards {

// Without blanks and tabs at both ends.
std::string_view trimmed(std::string_view text);

// What stands between blanks and tabs.
std::vector<std::string_view> words_of(std::string_view line);

// The number that is the whole of the text, blanks around it aside. Throws DataError when it is none or not finite; the
// second one also when it is not whole.
double number_of(std::string_view text);
std::int64_t whole_number_of(std::string_view text);

// 'text' for a message: shortened, control characters as '?'.
std::string in_quotes(std::string_view text);

}  // namespace cskd::shards
