// A TOML document as plain values with their places. Hides toml++, whose headers are heavy, in one translation unit.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace cskd::config {

// Line and column of the document, both from 1; columns count characters, not bytes.
struct Place {
  int line = 1;
  int column = 1;
};

struct TomlValue;
struct TomlEntry;

struct TomlKey {
  std::string name;
  Place place;
};

// In the order of the document.
using TomlTable = std::vector<TomlEntry>;
using TomlArray = std::vector<TomlValue>;

// A date or a time; no key takes one, so that its text is all that is kept of it.
struct TomlDate {
  std::string text;
};

struct TomlValue {
  std::variant<bool, std::int64_t, double, std::string, TomlDate, TomlArray, TomlTable> value;
  Place place;
};

// A key of a table with its value.
struct TomlEntry {
  TomlKey key;
  TomlValue value;
};

// What is wrong with a document, and where.
struct TomlError {
  std::string text;
  Place place;
};

// The root table, or the first error. `document` is UTF-8.
std::variant<TomlTable, TomlError> parse_toml(std::string_view document);

// How an error message names a value: `"abc"`, `3`, `true`, `a table`, ...; long strings are cut.
std::string describe(const TomlValue& value);

}  // namespace cskd::config
