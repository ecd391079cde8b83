#include "config/references.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/schema.h"
#include "runtime/spelling.h"

namespace cskd::config {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// A value that names a table, as it stands.
struct Value {
  std::string table, key, text;
  std::vector<std::string> lists;

  // The table's whole name, whether the value gives the list or not.
  std::string target() const { return lists.size() == 1 ? lists.front() + "." + text : text; }
};

// `table`: the table with a name that the message is, or is in; otherwise its own path.
void collect(const Message& message, const std::string& path, const std::string& table, std::vector<Value>& values) {
  const auto& access = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    const std::string inner = path.empty() ? field.name() : path + "." + field.name();
    const int size = field.is_repeated() ? access.FieldSize(message, &field) : 1;
    for (int k = 0; k < size; ++k) {
      if (field.message_type() == nullptr) {
        const std::vector<std::string> lists = referred_lists(field);
        if (lists.empty()) break;
        // A name that need not be given.
        if (!field.is_repeated() && !rules_of(field).required() && access.GetString(message, &field).empty()) break;
        values.push_back({.table = table,
                          .key = field.is_repeated() ? fmt::format("{}[{}]", inner, k) : inner,
                          .text = field.is_repeated() ? access.GetRepeatedString(message, &field, k)
                                                      : access.GetString(message, &field),
                          .lists = lists});
      } else if (!field.is_repeated()) {
        collect(access.GetMessage(message, &field), inner, table.empty() ? inner : table, values);
      } else {
        const Message& element = access.GetRepeatedMessage(message, &field, k);
        const FieldDescriptor* name = table_name_of(*field.message_type());
        const std::string own = name == nullptr
                                    ? fmt::format("{}[{}]", inner, k)
                                    : fmt::format("{}.{}", inner, element.GetReflection()->GetString(element, name));
        collect(element, own, own, values);
      }
    }
  }
}

std::vector<Value> values_in(const Message& root) {
  std::vector<Value> values;
  collect(root, "", "", values);
  return values;
}

// "align.student", "encoders.mobile" of these lists.
std::vector<std::string> tables_of(const Message& root, const std::vector<std::string>& lists) {
  std::vector<std::string> tables;
  for (const std::string& list : lists) {
    for (const std::string& name : tables_in(root, list)) tables.push_back(fmt::format("{}.{}", list, name));
  }
  return tables;
}

std::string not_there(const Value& value, const std::vector<std::string>& tables) {
  const std::vector<std::string>& lists = value.lists;
  const std::string& text = value.text;
  std::string problem = fmt::format("{} is \"{}\", but there is no [{}]", value.key, text, value.target());
  if (const std::string list = text.substr(0, text.find('.'));
      lists.size() > 1 && (list.size() == text.size() || std::ranges::find(lists, list) == lists.end()))
    problem = fmt::format("{} is \"{}\", expected one of {}.NAME", value.key, text, fmt::join(lists, ".NAME, "));
  // A slip of the pen, or the right name in the wrong list.
  std::string near = runtime::nearest(value.target(), tables);
  const auto same_name =
      std::ranges::find_if(tables, [name = text.substr(text.find('.') + 1)](const std::string& table) {
        return table.substr(table.find('.') + 1) == name;
      });
  if (near.empty() && same_name != tables.end()) near = *same_name;
  if (lists.size() == 1 && !near.empty()) near = near.substr(near.find('.') + 1);
  if (!near.empty()) return fmt::format("{}, did you mean \"{}\"?", problem, near);
  if (tables.empty()) return fmt::format("{}; the file has no [{}.NAME]", problem, fmt::join(lists, ".NAME] or ["));
  return fmt::format("{}; there is {}", problem, fmt::join(tables, ", "));
}

// The references of a circle, none when there is none: a walk along references, depth first, without recursion, since a
// hostile file has chains of many thousands.
std::vector<Reference> circle_in(const std::vector<Reference>& references) {
  std::map<std::string, std::vector<const Reference*>> from;
  for (const Reference& reference : references) from[reference.table].push_back(&reference);
  std::set<std::string> done;
  for (const auto& [start, ignored] : from) {
    struct Stop {
      std::string table;
      std::size_t next = 0;  // reference to follow
    };
    std::vector<Stop> way{{start}};
    std::set<std::string> on_way{start};
    while (!way.empty()) {
      Stop& last = way.back();
      const auto found = from.find(last.table);
      if (done.contains(last.table) || found == from.end() || last.next == found->second.size()) {
        done.insert(last.table);
        on_way.erase(last.table);
        way.pop_back();
        continue;
      }
      const std::string& target = found->second[last.next++]->target;
      if (on_way.contains(target)) {
        std::vector<Reference> circle;
        for (auto step = std::ranges::find(way, target, &Stop::table); step != way.end(); ++step)
          circle.push_back(*from[step->table][step->next - 1]);
        return circle;
      }
      on_way.insert(target);
      way.push_back({target});
    }
  }
  return {};
}

}  // namespace

std::vector<Reference> references_in(const Message& root) {
  std::vector<Reference> references;
  for (const Value& value : values_in(root)) references.push_back({value.table, value.key, value.target()});
  return references;
}

std::vector<std::string> tables_in(const Message& root, const std::string& list) {
  const FieldDescriptor& field = *root.GetDescriptor()->FindFieldByName(list);
  std::vector<std::string> names;
  for (int k = 0; k < root.GetReflection()->FieldSize(root, &field); ++k) {
    const Message& element = root.GetReflection()->GetRepeatedMessage(root, &field, k);
    names.push_back(element.GetReflection()->GetString(element, table_name_of(*field.message_type())));
  }
  return names;
}

void check_references(const Message& root, const std::map<std::string, Place>& places, std::vector<Problem>& problems) {
  const auto place_of = [&](const std::string& key) {
    const auto found = places.find(key);
    return found == places.end() ? Place{} : found->second;
  };
  const std::size_t before = problems.size();
  std::map<std::string, std::set<std::string>> lists;  // names of the tables of each
  for (int i = 0; i < root.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *root.GetDescriptor()->field(i);
    if (!is_named_list(field)) continue;
    const std::vector<std::string> names = tables_in(root, field.name());
    lists[field.name()] = {names.begin(), names.end()};
  }
  for (const Value& value : values_in(root)) {
    const std::string target = value.target();
    const std::string list = target.substr(0, target.find('.'));
    const bool is_there = std::ranges::find(value.lists, list) != value.lists.end() && list.size() < target.size() &&
                          lists[list].contains(target.substr(list.size() + 1));
    // What is missing altogether was reported.
    if (is_there || !places.contains(value.key)) continue;
    problems.push_back({place_of(value.key), not_there(value, tables_of(root, value.lists))});
  }
  if (problems.size() > before) return;
  const std::vector<Reference> circle = circle_in(references_in(root));
  if (circle.empty()) return;
  std::string text;
  for (const Reference& reference : circle)
    text += fmt::format("{} is made from {} ({}), ", reference.table, reference.target, reference.key);
  problems.push_back(
      {place_of(circle.front().key), fmt::format("{}a circle: one of them must start from something else", text)});
}

}  // namespace cskd::config
