#include "runtime/inputs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/check.h"

namespace cskd::runtime {
namespace {

std::string value_in(const Inputs& inputs, const std::string& name) {
  const auto found = inputs.values().find(name);
  return found == inputs.values().end() ? "unknown" : found->second;
}

}  // namespace

void Inputs::add(const std::string& name, const std::string& value) {
  const auto [entry, is_new] = values_.emplace(name, value);
  CSKD_CHECK(is_new || entry->second == value, "{} is {} and {}", name, entry->second, value);
}

void Inputs::add(const std::vector<std::pair<std::string, std::string>>& settings) {
  for (const auto& [name, value] : settings) add(name, value);
}

void Inputs::add(const Inputs& others) {
  for (const auto& [name, value] : others.values()) add(name, value);
}

ContentHash Inputs::hash() const {
  ContentHasher hasher;
  for (const auto& [name, value] : values_) {
    hasher.add_field(name);
    hasher.add_field(value);
  }
  return hasher.hash();
}

std::string differences(const Inputs& before, const Inputs& now, const std::set<std::string>& allowed) {
  std::set<std::string> names;
  for (const Inputs* inputs : {&before, &now}) {
    for (const auto& [name, value] : inputs->values()) names.insert(name);
  }
  std::vector<std::string> differing;
  for (const std::string& name : names) {
    const std::string was = value_in(before, name);
    const std::string is = value_in(now, name);
    if (was != is && !allowed.contains(name)) differing.push_back(fmt::format("{} (was {}, is {})", name, was, is));
  }
  return fmt::format("{}", fmt::join(differing, ", "));
}

}  // namespace cskd::runtime
