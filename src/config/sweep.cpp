#include "config/sweep.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/toml_tree.h"
#include "config/toml_writer.h"
#include "runtime/error.h"

namespace cskd::config {
namespace {

// Values of a TOML list, or bare words between commas.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> values;
  const auto parsed = parse_toml("values = [" + text + "]");
  const auto* table = std::get_if<TomlTable>(&parsed);
  if (table != nullptr && table->size() == 1) {
    for (const TomlValue& value : std::get<TomlArray>(table->front().value.value)) values.push_back(to_toml(value));
    return values;
  }
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::size_t first = std::min(text.find_first_not_of(' ', at), end);
    const std::size_t last = text.find_last_not_of(' ', end == 0 ? 0 : end - 1);
    values.push_back(last == std::string::npos || last < first ? "" : text.substr(first, last + 1 - first));
    at = end + 1;
  }
  return values;
}

}  // namespace

SweepAxis parse_axis(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw runtime::UsageError(
        fmt::format("a sweep goes over '{}', expected KEY=VALUE,VALUE,... such as run.seed=1,2,3", text));
  }
  SweepAxis axis{.key = text.substr(0, equals), .values = split(text.substr(equals + 1))};
  if (axis.key == "run.folder" || axis.key.starts_with("sweep."))
    throw runtime::UsageError(fmt::format("a sweep cannot go over {}: all its members share it", axis.key));
  std::set<std::string> seen;
  for (const std::string& value : axis.values) {
    if (value.empty()) throw runtime::UsageError(fmt::format("a sweep goes over '{}', which lacks a value", text));
    if (!seen.insert(value).second)
      throw runtime::UsageError(fmt::format("a sweep goes over {} = {} twice", axis.key, value));
  }
  if (axis.values.empty()) throw runtime::UsageError(fmt::format("a sweep goes over '{}', which lacks a value", text));
  return axis;
}

std::vector<std::string> SweepMember::overrides() const {
  std::vector<std::string> all;
  for (const auto& [key, value] : values) all.push_back(fmt::format("{}={}", key, value));
  return all;
}

std::string SweepMember::name() const { return fmt::format("{}", fmt::join(overrides(), ", ")); }

std::vector<SweepMember> members_of(const std::vector<SweepAxis>& axes) {
  std::set<std::string> keys;
  std::vector<SweepMember> members{{}};
  for (const SweepAxis& axis : axes) {
    if (!keys.insert(axis.key).second)
      throw runtime::UsageError(fmt::format("a sweep goes over {} twice: name all its values at once", axis.key));
    if (members.size() * axis.values.size() > kMostMembers)
      throw runtime::UsageError(fmt::format("the sweep has more than {} members", kMostMembers));
    std::vector<SweepMember> more;
    for (const SweepMember& member : members) {
      for (const std::string& value : axis.values) {
        more.push_back(member);
        more.back().values.emplace_back(axis.key, value);
      }
    }
    members = std::move(more);
  }
  return members;
}

}  // namespace cskd::config
