#include "config/override.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "config/schema.h"
#include "runtime/spelling.h"

namespace cskd::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

struct Step {
  std::string name;
  std::optional<size_t> index;
};

// "sources[0].path" as steps; none when it is malformed.
std::optional<std::vector<Step>> split_path(const std::string& path) {
  std::vector<Step> steps;
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('.', start), path.size());
    const std::string part = path.substr(start, end - start);
    start = end + 1;
    const size_t bracket = part.find('[');
    Step step{part.substr(0, bracket), std::nullopt};
    if (step.name.empty()) return std::nullopt;
    if (bracket != std::string::npos) {
      if (part.back() != ']') return std::nullopt;
      size_t index = 0;
      const char* last = part.data() + part.size() - 1;
      const auto [stop, status] = std::from_chars(part.data() + bracket + 1, last, index);
      if (status != std::errc() || stop != last) return std::nullopt;
      step.index = index;
    }
    steps.push_back(step);
  }
  return steps;
}

// The TOML value that `text` is, or the text itself where the key takes text.
std::optional<TomlValue> parse_value(const std::string& text, const FieldDescriptor* field, Place place) {
  const bool takes_text =
      field != nullptr && !field->is_repeated() &&
      (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING || field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM);
  auto parsed = parse_toml("value = " + text);
  auto* table = std::get_if<TomlTable>(&parsed);
  if (table != nullptr && table->size() == 1) {
    TomlValue& value = table->front().value;
    if (!takes_text || std::holds_alternative<std::string>(value.value)) {
      value.place = place;
      return value;
    }
  }
  if (!takes_text) return std::nullopt;
  return TomlValue{text, place};
}

// Every place inside becomes that of the override.
void move_to(TomlValue& value, Place place) {
  value.place = place;
  if (auto* array = std::get_if<TomlArray>(&value.value)) {
    for (TomlValue& element : *array) move_to(element, place);
  } else if (auto* table = std::get_if<TomlTable>(&value.value)) {
    for (auto& [key, element] : *table) {
      key.place = place;
      move_to(element, place);
    }
  }
}

TomlValue& child(TomlTable& table, const std::string& name, Place place, TomlValue fresh) {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.key.name == name; });
  if (found != table.end()) return found->value;
  fresh.place = place;
  return table.emplace_back(TomlEntry{{name, place}, std::move(fresh)}).value;
}

// The name of a table that `name` may be meant for, where there is none of it.
std::string nearest_other(const TomlTable& table, const std::string& name) {
  std::vector<std::string> names;
  for (const TomlEntry& entry : table) names.push_back(entry.key.name);
  return std::ranges::find(names, name) != names.end() ? "" : runtime::nearest(name, names);
}

}  // namespace

void apply_override(const std::string& text, int number, const Descriptor& type,
                    const std::filesystem::path& current_folder, TomlTable& root, std::vector<Problem>& problems) {
  const Place place = place_of_override(number);
  const size_t equals = text.find('=');
  const auto steps = split_path(text.substr(0, equals));
  if (equals == std::string::npos || !steps) {
    problems.push_back({place, "expected KEY=VALUE, for instance run.seed=7 or sources[0].path=/photos"});
    return;
  }

  TomlTable changed = root;
  TomlTable* table = &changed;
  const Descriptor* message = &type;
  const Descriptor* named = nullptr;  // of the tables of which the next step names one
  std::string done;                   // the path up to this step
  for (size_t i = 0; i < steps->size(); ++i) {
    const Step& step = (*steps)[i];
    if (named != nullptr && i + 1 < steps->size() && !step.index) {
      if (const std::string near = nearest_other(*table, step.name); !near.empty()) {
        problems.push_back({place, fmt::format("there is no [{0}.{1}], did you mean {0}.{2}?", done, step.name, near)});
        return;
      }
      table = std::get_if<TomlTable>(&child(*table, step.name, place, {TomlTable{}, place}).value);
      done += "." + step.name;
      if (table == nullptr) {
        problems.push_back({place, fmt::format("{} is no table", done)});
        return;
      }
      message = std::exchange(named, nullptr);
      continue;
    }
    const FieldDescriptor* field = message == nullptr ? nullptr : message->FindFieldByName(step.name);
    if (i + 1 == steps->size() && !step.index) {
      auto value = parse_value(text.substr(equals + 1), field, place);
      if (!value) {
        problems.push_back({place, fmt::format("{} is not a TOML value, expected {}", text.substr(equals + 1),
                                               field == nullptr ? "one" : expectation(*field))});
        return;
      }
      move_to(*value, place);
      auto* path = std::get_if<std::string>(&value->value);
      if (path != nullptr && !path->empty() && !path->starts_with('~') && field != nullptr && rules_of(*field).path()) {
        *path = (current_folder / *path).lexically_normal().native();
      }
      const auto found =
          std::find_if(table->begin(), table->end(), [&](const auto& entry) { return entry.key.name == step.name; });
      if (found != table->end()) table->erase(found);
      table->push_back({{step.name, place}, *std::move(value)});
      root = std::move(changed);
      return;
    }

    TomlValue& inner =
        child(*table, step.name, place, step.index ? TomlValue{TomlArray{}, place} : TomlValue{TomlTable{}, place});
    done += (done.empty() ? "" : ".") + step.name;
    TomlValue* target = &inner;
    if (step.index) {
      auto* array = std::get_if<TomlArray>(&inner.value);
      if (array == nullptr) {
        problems.push_back({place, fmt::format("{} is {}, not a list", done, describe(inner))});
        return;
      }
      if (*step.index > array->size()) {
        problems.push_back({place, fmt::format("{} has {} {}, [{}] is past its end", done, array->size(),
                                               array->size() == 1 ? "element" : "elements", *step.index)});
        return;
      }
      if (*step.index == array->size()) array->push_back({TomlTable{}, place});
      target = &(*array)[*step.index];
      done += fmt::format("[{}]", *step.index);
    }
    table = std::get_if<TomlTable>(&target->value);
    if (table == nullptr || i + 1 == steps->size()) {
      problems.push_back({place, table == nullptr ? fmt::format("{} is {}, not a table", done, describe(*target))
                                                  : fmt::format("{} is a table; name one of its keys", done)});
      return;
    }
    message = field == nullptr ? nullptr : field->message_type();
    if (field != nullptr && is_named_list(*field)) named = std::exchange(message, nullptr);
  }
}

}  // namespace cskd::config
