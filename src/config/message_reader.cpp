#include "config/message_reader.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "config/schema.h"
#include "runtime/check.h"
#include "runtime/spelling.h"

namespace cskd::config {
namespace {

constexpr std::string_view kEmptyText = "\"\"";  // as a default in the schema

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// "~" and "~/photos" as the shell would have it; nothing for "~name", or where there is no home.
std::optional<std::string> with_home(const std::string& path) {
  if (!path.starts_with('~')) return path;
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0' || (path.size() > 1 && path[1] != '/')) return std::nullopt;
  return home + path.substr(1);
}

// $HOME/photos or /data/${USER}/photos would make folders of these names.
bool has_variable(const std::string& path) { return path.starts_with('$') || path.find("/$") != std::string::npos; }

std::string below(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

const Reflection& reflection(const Message& message) { return *message.GetReflection(); }

bool is_set(const TomlTable& table, const std::string& name) {
  return std::any_of(table.begin(), table.end(), [&](const auto& entry) { return entry.key.name == name; });
}

// Sets or, in a list, appends.
template <typename Set, typename Add>
void store(const FieldDescriptor& field, Set set, Add add) {
  field.is_repeated() ? add() : set();
}

void store_integer(const FieldDescriptor& field, std::int64_t number, Message& message) {
  const Reflection& access = reflection(message);
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      store(
          field, [&] { access.SetInt32(&message, &field, static_cast<std::int32_t>(number)); },
          [&] { access.AddInt32(&message, &field, static_cast<std::int32_t>(number)); });
      return;
    case FieldDescriptor::CPPTYPE_UINT32:
      store(
          field, [&] { access.SetUInt32(&message, &field, static_cast<std::uint32_t>(number)); },
          [&] { access.AddUInt32(&message, &field, static_cast<std::uint32_t>(number)); });
      return;
    case FieldDescriptor::CPPTYPE_INT64:
      store(
          field, [&] { access.SetInt64(&message, &field, number); },
          [&] { access.AddInt64(&message, &field, number); });
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      store(
          field, [&] { access.SetUInt64(&message, &field, static_cast<std::uint64_t>(number)); },
          [&] { access.AddUInt64(&message, &field, static_cast<std::uint64_t>(number)); });
      return;
    default:
      CSKD_CHECK(false, "{} is no integer", field.full_name());
  }
}

void store_number(const FieldDescriptor& field, double number, Message& message) {
  const Reflection& access = reflection(message);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_FLOAT) {
    const auto narrow = static_cast<float>(number);
    store(
        field, [&] { access.SetFloat(&message, &field, narrow); }, [&] { access.AddFloat(&message, &field, narrow); });
    return;
  }
  store(
      field, [&] { access.SetDouble(&message, &field, number); }, [&] { access.AddDouble(&message, &field, number); });
}

bool within_rules(const FieldDescriptor& field, double number) {
  const KeyRules& limits = rules_of(field);
  if (limits.has_min() && number < limits.min()) return false;
  if (limits.has_max() && number > limits.max()) return false;
  return !limits.has_above() || number > limits.above();
}

// Every key and table below `type`, as dotted paths.
void collect_paths(const Descriptor& type, const std::string& path, std::vector<std::string>& paths) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (rules_of(field).table_name()) continue;
    const std::string inner = below(path, field.name()) + (is_named_list(field) ? ".NAME" : "");
    paths.push_back(inner);
    if (field.message_type() != nullptr) collect_paths(*field.message_type(), inner, paths);
  }
}

}  // namespace

void MessageReader::read(const TomlTable& table, Place place, const std::string& path, Message& message) {
  if (root_ == nullptr) root_ = message.GetDescriptor();
  set_defaults(message);
  const Descriptor& type = *message.GetDescriptor();
  for (const auto& [key, value] : table) {
    const FieldDescriptor* field = type.FindFieldByName(key.name);
    if (field == nullptr || rules_of(*field).table_name()) {
      refuse_unknown(key, path, type);
    } else {
      read_field(value, below(path, key.name), *field, message);
    }
  }
  check_required(table, place, path, message);
}

void MessageReader::set_defaults(Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.message_type() != nullptr && !field.is_repeated()) {
      set_defaults(*reflection(message).MutableMessage(&message, &field));
    }
    if (rules_of(field).default_().empty()) continue;
    const auto parsed = parse_toml("value = " + rules_of(field).default_());
    CSKD_CHECK(std::holds_alternative<TomlTable>(parsed), "the default of {} is no TOML", field.full_name());
    std::vector<Problem> problems;
    MessageReader(problems).read_field(std::get<TomlTable>(parsed).front().value, field.name(), field, message);
    CSKD_CHECK(problems.empty(), "the default of {}: {}", field.full_name(), problems.front().text);
  }
}

void MessageReader::read_field(const TomlValue& value, const std::string& path, const FieldDescriptor& field,
                               Message& message) {
  CSKD_CHECK(!field.is_map() && field.containing_oneof() == nullptr, "{} is a map or in a oneof", field.full_name());
  if (is_named_list(field)) {
    read_named(value, path, field, message);
  } else if (field.is_repeated()) {
    read_list(value, path, field, message);
  } else if (field.message_type() != nullptr) {
    const auto* table = std::get_if<TomlTable>(&value.value);
    if (table == nullptr) {
      report(value.place, fmt::format("{} is {}, expected a table: [{}]", path, describe(value), path));
      return;
    }
    read(*table, value.place, path, *reflection(message).MutableMessage(&message, &field));
  } else {
    read_scalar(value, path, field, message);
  }
}

void MessageReader::read_list(const TomlValue& value, const std::string& path, const FieldDescriptor& field,
                              Message& message) {
  reflection(message).ClearField(&message, &field);  // a list that is given replaces the default one
  const auto* array = std::get_if<TomlArray>(&value.value);
  const bool of_tables = field.message_type() != nullptr;
  if (array == nullptr) {
    report(value.place,
           of_tables ? fmt::format("{0} is {1}, expected a list of tables: [[{0}]]", path, describe(value))
                     : fmt::format("{} is {}, expected a list: [{}, ...]", path, describe(value), expectation(field)));
    return;
  }
  if (const std::uint32_t most = rules_of(field).most(); most > 0 && (array->empty() || array->size() > most)) {
    report(value.place, fmt::format("{} has {} elements, expected {}", path, array->size(),
                                    most == 1 ? "one" : fmt::format("1 to {}", most)));
    return;
  }
  for (size_t i = 0; i < array->size(); ++i) {
    const TomlValue& element = (*array)[i];
    const std::string element_path = fmt::format("{}[{}]", path, i);
    if (!of_tables) {
      read_scalar(element, element_path, field, message);
    } else if (const auto* table = std::get_if<TomlTable>(&element.value)) {
      read(*table, element.place, element_path, *reflection(message).AddMessage(&message, &field));
    } else {
      report(element.place, fmt::format("{} is {}, expected a table: [[{}]]", element_path, describe(element), path));
    }
  }
  if (of_tables) check_unique(*array, path, field);
}

void MessageReader::read_named(const TomlValue& value, const std::string& path, const FieldDescriptor& field,
                               Message& message) {
  const auto* table = std::get_if<TomlTable>(&value.value);
  if (table == nullptr) {
    report(value.place, fmt::format("{0} is {1}, expected tables with names: [{0}.NAME]", path, describe(value)));
    return;
  }
  for (const auto& [key, element] : *table) {
    const std::string element_path = below(path, key.name);
    const auto* inner = std::get_if<TomlTable>(&element.value);
    if (inner == nullptr) {
      report(element.place, fmt::format("{} is {}, expected a table: [{}.NAME] with its keys below", element_path,
                                        describe(element), path));
    } else if (!is_name(key.name)) {
      report(key.place, fmt::format("{} has no fit name, expected {}", element_path, kNameRule));
    } else if (const auto* key_field = field.message_type()->FindFieldByName(key.name);
               key_field != nullptr && !rules_of(*key_field).table_name()) {
      // A key in the wrong place, or the form of before there were names.
      report(key.place,
             fmt::format("{} cannot be the name of a table, since tables in [{}.NAME] have a key of this name",
                         element_path, path));
    } else {
      Message& named = *reflection(message).AddMessage(&message, &field);
      read(*inner, element.place, element_path, named);
      reflection(named).SetString(&named, table_name_of(*field.message_type()), key.name);
    }
  }
}

void MessageReader::read_scalar(const TomlValue& value, const std::string& path, const FieldDescriptor& field,
                                Message& message) {
  const Reflection& access = reflection(message);
  const auto refuse = [&] {
    report(value.place, fmt::format("{} is {}, expected {}", path, describe(value), expectation(field)));
  };
  const auto* integer = std::get_if<std::int64_t>(&value.value);
  const auto* text = std::get_if<std::string>(&value.value);
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL: {
      const auto* flag = std::get_if<bool>(&value.value);
      if (flag == nullptr) return refuse();
      return store(
          field, [&] { access.SetBool(&message, &field, *flag); }, [&] { access.AddBool(&message, &field, *flag); });
    }
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT64: {
      const IntegerRange range = integer_range(field);
      if (integer == nullptr || *integer < range.low || *integer > range.high) return refuse();
      return store_integer(field, *integer, message);
    }
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      const auto* real = std::get_if<double>(&value.value);
      if (integer == nullptr && real == nullptr) return refuse();
      const double number = real != nullptr ? *real : static_cast<double>(*integer);
      const bool fits = field.cpp_type() != FieldDescriptor::CPPTYPE_FLOAT ||
                        std::abs(number) <= static_cast<double>(std::numeric_limits<float>::max());
      if (!std::isfinite(number) || !fits || !within_rules(field, number)) return refuse();
      return store_number(field, number, message);
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      const KeyRules& limits = rules_of(field);
      if (text == nullptr || text->find('\0') != std::string::npos) return refuse();
      const bool may_be_empty = limits.default_() == kEmptyText;
      const bool wrong_path = limits.path() && ((text->empty() && !may_be_empty) || text->size() > kLongestPath);
      if (wrong_path || (limits.name() && !is_name(*text))) return refuse();
      if (!limits.refers_to().empty()) places_[path] = value.place;
      const std::optional<std::string> given = limits.path() ? with_home(*text) : *text;
      if (!given || (limits.path() && has_variable(*text))) {
        report(value.place, fmt::format("{} is {}: environment variables and other users' homes are not expanded; "
                                        "write the path itself, or ~/ for your home",
                                        path, describe(value)));
        return;
      }
      return store(
          field, [&] { access.SetString(&message, &field, *given); },
          [&] { access.AddString(&message, &field, *given); });
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* number = text == nullptr ? nullptr : field.enum_type()->FindValueByName(*text);
      if (number == nullptr) {
        const std::string near = text == nullptr ? "" : runtime::nearest(*text, choices(*field.enum_type()));
        report(value.place, fmt::format("{} is {}, expected {}{}", path, describe(value), expectation(field),
                                        near.empty() ? "" : fmt::format(", did you mean \"{}\"?", near)));
        return;
      }
      return store(
          field, [&] { access.SetEnum(&message, &field, number); }, [&] { access.AddEnum(&message, &field, number); });
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      CSKD_CHECK(false, "{} is a table", field.full_name());
  }
}

void MessageReader::check_required(const TomlTable& table, Place place, const std::string& path,
                                   const Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (is_set(table, field.name())) continue;
    if (rules_of(field).required()) {
      const std::string& alternative = rules_of(field).alternative();
      if (!alternative.empty() && is_set(table, alternative)) continue;
      const std::string instead = alternative.empty() ? "" : fmt::format(", or {}", alternative);
      report(place,
             fmt::format("{} is missing, expected {}{}", below(path, field.name()), expectation(field), instead));
    } else if (field.message_type() != nullptr && !field.is_repeated()) {
      // A table that is not given may have required keys of its own.
      check_required({}, place, below(path, field.name()), reflection(message).GetMessage(message, &field));
    }
  }
}

void MessageReader::check_unique(const TomlArray& array, const std::string& path, const FieldDescriptor& field) {
  const Descriptor& type = *field.message_type();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& key = *type.field(i);
    if (!rules_of(key).unique()) continue;
    std::map<std::string, size_t> seen;
    for (size_t element = 0; element < array.size(); ++element) {
      const auto* table = std::get_if<TomlTable>(&array[element].value);
      if (table == nullptr) continue;
      for (const auto& [name, value] : *table) {
        const auto* text = std::get_if<std::string>(&value.value);
        if (name.name != key.name() || text == nullptr) continue;
        const auto [first, is_new] = seen.emplace(*text, element);
        if (is_new) continue;
        report(value.place, fmt::format("{}[{}].{} is {} like {}[{}].{}, expected a value of its own", path, element,
                                        key.name(), describe(value), path, first->second, key.name()));
      }
    }
  }
}

void MessageReader::refuse_unknown(const TomlKey& key, const std::string& path, const Descriptor& type) {
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(type.field_count()));
  for (int i = 0; i < type.field_count(); ++i) {
    if (!rules_of(*type.field(i)).table_name()) names.push_back(type.field(i)->name());
  }
  std::string near = runtime::nearest(key.name, names);
  if (near.empty()) {
    // The right name in the wrong table.
    std::vector<std::string> paths;
    collect_paths(*root_, "", paths);
    const auto same_name = std::find_if(paths.begin(), paths.end(), [&](const std::string& candidate) {
      return candidate.ends_with("." + key.name) || candidate == key.name;
    });
    if (same_name != paths.end()) near = *same_name;
  } else {
    near = below(path, near);
  }
  std::string text = fmt::format("{} is not a key of the configuration", below(path, key.name));
  if (!near.empty()) {
    text += fmt::format(", did you mean {}?", near);
  } else {
    text += fmt::format("; {} has {}", path.empty() ? "the file" : path, fmt::format("{}", fmt::join(names, ", ")));
  }
  report(key.place, text);
}

}  // namespace cskd::config
