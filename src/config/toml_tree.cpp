#include "config/toml_tree.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "runtime/check.h"

namespace cskd::config {
namespace {

Place place_of(const toml::source_region& region) {
  return {static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
}

template <typename T>
std::string printed(const T& value) {
  std::ostringstream stream;
  stream << value;
  return stream.str();
}

// Deep nesting is refused by toml++ (TOML_MAX_NESTED_VALUES), so that this recursion is bounded.
TomlValue convert(const toml::node& node) {
  const Place place = place_of(node.source());
  switch (node.type()) {
    case toml::node_type::boolean:
      return {node.as_boolean()->get(), place};
    case toml::node_type::integer:
      return {node.as_integer()->get(), place};
    case toml::node_type::floating_point:
      return {node.as_floating_point()->get(), place};
    case toml::node_type::string:
      return {node.as_string()->get(), place};
    case toml::node_type::date:
      return {TomlDate{printed(node.as_date()->get())}, place};
    case toml::node_type::time:
      return {TomlDate{printed(node.as_time()->get())}, place};
    case toml::node_type::date_time:
      return {TomlDate{printed(node.as_date_time()->get())}, place};
    case toml::node_type::array: {
      TomlArray array;
      for (const toml::node& element : *node.as_array()) array.push_back(convert(element));
      return {std::move(array), place};
    }
    case toml::node_type::table: {
      TomlTable table;
      for (const auto& [key, element] : *node.as_table()) {
        table.push_back({{std::string(key.str()), place_of(key.source())}, convert(element)});
      }
      // toml++ sorts by name; people read from top to bottom.
      std::stable_sort(table.begin(), table.end(), [](const auto& a, const auto& b) {
        return std::pair(a.key.place.line, a.key.place.column) < std::pair(b.key.place.line, b.key.place.column);
      });
      return {std::move(table), place};
    }
    default:
      CSKD_CHECK(false, "toml++ made a node of type {}", static_cast<int>(node.type()));
  }
}

}  // namespace

std::variant<TomlTable, TomlError> parse_toml(std::string_view document) {
  try {
    return std::get<TomlTable>(convert(toml::parse(document)).value);
  } catch (const toml::parse_error& error) {
    return TomlError{std::string(error.description()), place_of(error.source())};
  }
}

std::string describe(const TomlValue& value) {
  struct Visitor {
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
    std::string operator()(std::int64_t number) const { return std::to_string(number); }
    std::string operator()(double number) const {
      std::string text = fmt::format("{}", number);
      // 3.0 prints as "3": the point shows that it is not a whole number of TOML.
      return std::isfinite(number) && text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
    }
    std::string operator()(const std::string& text) const {
      constexpr size_t kLongest = 60;
      std::string shown;
      for (const char c : text.substr(0, kLongest)) shown += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
      while (text.size() > kLongest && !shown.empty() && (static_cast<unsigned char>(shown.back()) & 0x80U) != 0) {
        shown.pop_back();  // never half a character
      }
      return '"' + shown + (text.size() > kLongest ? "...\"" : "\"");
    }
    std::string operator()(const TomlDate& date) const { return "the date or time " + date.text; }
    std::string operator()(const TomlArray& array) const { return array.empty() ? "an empty list" : "a list"; }
    std::string operator()(const TomlTable&) const { return "a table"; }
  };
  return std::visit(Visitor{}, value.value);
}

}  // namespace cskd::config
