#include "config/documentation.h"

#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "config/schema.h"

namespace cskd::config {
namespace {

constexpr size_t kColumns = 100;

// Words of `text` in lines of at most kColumns, each after `indent` spaces.
std::string wrapped(const std::string& text, size_t indent) {
  std::istringstream words(text);
  std::string result;
  std::string line;
  for (std::string word; words >> word;) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > kColumns) {
      result += std::string(indent, ' ') + line + '\n';
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return result + std::string(indent, ' ') + line + '\n';
}

// "[run]", "[[sources]]"
std::string header_of(const KeyPage& table) {
  // "[align.NAME]" is the path of a table with a name.
  return table.path.ends_with("[]") ? fmt::format("[[{}]]", table.path.substr(0, table.path.size() - 2))
                                    : fmt::format("[{}]", table.path);
}

std::string name_of(const KeyPage& key) { return key.path.substr(key.path.rfind('.') + 1); }

// "number, GiB, from 0"
std::string kind_of(const KeyPage& key) {
  std::string text = key.type;
  if (!key.unit.empty()) text += ", " + key.unit;
  if (!key.range.empty()) text += ", " + key.range;
  return text;
}

std::string like_another(const KeyPage& table) {
  return table.same_as.empty() ? "" : fmt::format(" Keys and defaults are those of [{}].", table.same_as);
}

constexpr const char* kIntroduction = R"(# Configuration

One TOML file describes a run. This page lists every key; `cskd config --help-all` prints the same.

```bash
cskd config configs/demo.toml                      # check the file, print it with every default
cskd config configs/demo.toml --set run.seed=7     # the same with one key changed
```

* **Precedence**: `--set KEY=VALUE` on the command line, then the file, then the defaults below.
* **`--set`** takes any key: `--set run.seed=7`, `--set sources[0].path=/photos`. The value is TOML; text needs no quotes.
* **Relative paths** in the file start at the folder of the file, those of `--set` at the current folder. `~/` is your home.
* **Errors** are all reported at once, before anything is touched, with exit code 2:

```
cskd: error: configs/broken.toml:2:1: run.sed is not a key of the configuration, did you mean run.seed?
configs/broken.toml:5:9: logging.level is "loud", expected "trace", "debug", "info", "warning", "error" or "off"
```

This page is made from the schema (`src/config/*.proto`): `build/release/cskd config --markdown > docs/configuration.md`.
)";

}  // namespace

std::string help_all() {
  std::string text;
  for (const KeyPage& page : key_pages()) {
    if (page.is_table) {
      text += (text.empty() ? "" : "\n") + header_of(page) + "\n" + wrapped(page.effect + like_another(page), 2);
      continue;
    }
    const std::string fallback =
        page.default_value == "required" ? "required" : fmt::format("default {}", page.default_value);
    text += "\n" + wrapped(fmt::format("{} ({}; {})", name_of(page), kind_of(page), fallback), 2);
    text += wrapped(page.effect, 6);
    for (const auto& [name, effect] : page.choices) text += wrapped(fmt::format("{}: {}", name, effect), 8);
  }
  return text;
}

std::string markdown_page() {
  std::string text = kIntroduction;
  for (const KeyPage& page : key_pages()) {
    if (page.is_table) {
      text += fmt::format("\n## `{}`\n\n{}{}\n", header_of(page), page.effect, like_another(page));
      if (page.same_as.empty()) text += "\n| key | type | default | effect |\n|---|---|---|---|\n";
      continue;
    }
    std::string effect = page.effect;
    for (const auto& [name, meaning] : page.choices) effect += fmt::format("<br>`{}`: {}", name, meaning);
    const std::string fallback = page.default_value == "required" ? "required" : "`" + page.default_value + "`";
    text += fmt::format("| `{}` | {} | {} | {} |\n", name_of(page), kind_of(page), fallback, effect);
  }
  return text;
}

}  // namespace cskd::config
