#include "distributed/same_everywhere.h"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::distributed {
namespace {

// Length and text of each, so that any bytes survive.
std::string pack(const Facts& facts) {
  std::string text;
  for (const auto& [name, value] : facts) text += fmt::format("{} {} {}{}", name.size(), value.size(), name, value);
  return text;
}

std::size_t take_number(std::string_view& text) {
  const std::size_t space = text.find(' ');
  const std::size_t number = std::stoull(std::string(text.substr(0, space)));
  text.remove_prefix(space + 1);
  return number;
}

Facts unpack(std::string_view text) {
  Facts facts;
  while (!text.empty()) {
    const std::size_t name = take_number(text);
    const std::size_t value = take_number(text);
    facts.emplace_back(text.substr(0, name), text.substr(name, value));
    text.remove_prefix(name + value);
  }
  return facts;
}

}  // namespace

void require_same(runtime::World& world, const std::string& what, const Facts& facts) {
  const std::vector<std::string> all = world.all_gather(pack(facts));
  const auto differs = std::find_if(all.begin(), all.end(), [&](const std::string& text) { return text != all[0]; });
  if (differs == all.end()) return;
  const Facts first = unpack(all[0]);
  const Facts other = unpack(*differs);
  const auto rank = differs - all.begin();
  const std::size_t count = std::min(first.size(), other.size());
  for (std::size_t i = 0; i < count; ++i) {
    if (first[i] == other[i]) continue;
    if (first[i].first != other[i].first) {
      throw runtime::UsageError(fmt::format("{} differs between ranks: rank 0 has '{}' where rank {} has '{}'", what,
                                            first[i].first, rank, other[i].first));
    }
    throw runtime::UsageError(fmt::format("{} differs between ranks: {} is '{}' on rank 0 and '{}' on rank {}", what,
                                          first[i].first, first[i].second, other[i].second, rank));
  }
  throw runtime::UsageError(fmt::format("{} differs between ranks: rank 0 has {} entries, rank {} has {}", what,
                                        first.size(), rank, other.size()));
}

}  // namespace cskd::distributed
