#include "config/old_form.h"

#include <algorithm>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "config/override.h"
#include "config/toml_writer.h"
#include "runtime/error.h"

namespace cskd::config {
namespace {

constexpr std::string_view kTraining = "training";

const TomlValue* value_in(const TomlTable& table, std::string_view key) {
  const auto found = std::ranges::find_if(table, [&](const TomlEntry& entry) { return entry.key.name == key; });
  return found == table.end() ? nullptr : &found->value;
}

const TomlTable* table_in(const TomlTable& table, std::string_view key) {
  const TomlValue* value = value_in(table, key);
  return value == nullptr ? nullptr : std::get_if<TomlTable>(&value->value);
}

std::string text_in(const TomlTable* table, std::string_view key, const std::string& otherwise) {
  const TomlValue* value = table == nullptr ? nullptr : value_in(*table, key);
  const auto* text = value == nullptr ? nullptr : std::get_if<std::string>(&value->value);
  return text == nullptr ? otherwise : *text;
}

// A place in the file, not in --set, where a stage has keys of its own rather than named tables.
std::optional<Place> old_key(const TomlTable& root) {
  for (const char* gone : {"clip", "cache", "baseline"}) {
    for (const TomlEntry& entry : root) {
      if (entry.key.name == gone && !is_override(entry.key.place)) return entry.key.place;
    }
  }
  for (const char* kind : {"align", "finetune", "distill"}) {
    const TomlTable* table = table_in(root, kind);
    if (table == nullptr) continue;
    for (const TomlEntry& entry : *table) {
      const bool is_key = !std::holds_alternative<TomlTable>(entry.value.value) || entry.key.name == kTraining;
      if (is_key && !is_override(entry.key.place)) return entry.key.place;
    }
  }
  return std::nullopt;
}

// Writes tables of the new form.
class NewForm {
 public:
  void table(const std::string& header) { text_ += fmt::format("\n  [{}]\n", header); }
  void key(const std::string& name, const std::string& value) { text_ += fmt::format("  {} = {}\n", name, value); }
  // Of an old table, which may be null, those without another name or meaning now.
  void keys(const TomlTable* table, const std::vector<std::string>& without) {
    if (table == nullptr) return;
    for (const TomlEntry& entry : *table) {
      if (std::ranges::find(without, entry.key.name) == without.end() &&
          !std::holds_alternative<TomlTable>(entry.value.value))
        key(entry.key.name, to_toml(entry.value));
    }
  }
  void training(const std::string& header, const TomlTable* stage) {
    const TomlTable* inner = stage == nullptr ? nullptr : table_in(*stage, kTraining);
    if (inner == nullptr) return;
    table(header + ".training");
    keys(inner, {});
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string new_form(const TomlTable& root) {
  const TomlTable* clip = table_in(root, "clip");
  const TomlTable* cache = table_in(root, "cache");
  const TomlTable* align = table_in(root, "align");
  const TomlTable* finetune = table_in(root, "finetune");
  const TomlTable* baseline = table_in(root, "baseline");
  const TomlTable* distill = table_in(root, "distill");
  const auto source = [](const std::string& start, const std::string& encoder) {
    return start == "clip"     ? "\"towers.clip\""
           : start == "random" ? "\"encoders." + encoder + "\""
                               : "\"align.student\"";
  };
  NewForm form;
  if (clip != nullptr || cache != nullptr) {
    form.table("towers.clip");
    form.key("architecture", quoted(text_in(clip, "encoder", "ViT-B-32")));
    form.keys(clip, {"encoder"});
    for (const char* key : {"views", "min_area"}) {
      if (const TomlValue* value = cache == nullptr ? nullptr : value_in(*cache, key))
        form.key(key == std::string_view("views") ? "views.count" : "views.min_area", to_toml(*value));
    }
    form.keys(cache, {"views", "min_area"});
  }
  if (align != nullptr || baseline != nullptr || distill != nullptr) {
    form.table("encoders.student");
    form.key("architecture", quoted(text_in(align, "encoder", "mobilenetv3_small_100")));
    if (const TomlValue* size = align == nullptr ? nullptr : value_in(*align, "image_size"))
      form.key("image_size", to_toml(*size));
  }
  if (align != nullptr) {
    form.table("align.student");
    form.key("encoder", "\"student\"");
    form.key("towers", "[\"clip\"]");
    form.keys(align, {"encoder", "image_size"});
    form.training("align.student", align);
  }
  if (finetune != nullptr) {
    const std::string start = text_in(finetune, "start", "aligned");
    const bool has_own = start == "random" && value_in(*finetune, "encoder") != nullptr;
    if (has_own) {
      form.table("encoders.teacher");
      form.key("architecture", quoted(text_in(finetune, "encoder", "")));
      form.keys(finetune, {"encoder", "start"});
    }
    form.table("finetune.teacher");
    form.key("from", source(start, has_own ? "teacher" : "student"));
    form.keys(finetune, {"encoder", "image_size", "start"});
    form.training("finetune.teacher", finetune);
  }
  if (baseline != nullptr) {
    form.table("finetune.supervised");
    form.key("from", "\"encoders.student\"");
    form.training("finetune.supervised", baseline);
  }
  if (distill != nullptr) {
    form.table("distill.student");
    form.key("from", source(text_in(distill, "start", "aligned"), "student"));
    form.key("teachers", "[\"finetune.teacher\"]");
    form.keys(distill, {"start"});
    form.training("distill.student", distill);
  }
  return form.take();
}

}  // namespace

void refuse_old_form(const TomlTable& root, const std::string& name) {
  const std::optional<Place> place = old_key(root);
  if (!place) return;
  throw runtime::UsageError(
      fmt::format("{}:{}:{}: towers, encoders and stages are tables with names now, and the stage 'baseline' is a "
                  "[finetune.NAME] that starts from an encoder. Put this in place of [clip], [cache], [align], "
                  "[finetune], [baseline] and [distill]:\n{}",
                  name, place->line, place->column, new_form(root)));
}

}  // namespace cskd::config
