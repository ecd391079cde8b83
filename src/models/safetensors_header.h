// The JSON header of a safetensors file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/ScalarType.h>

#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::models {

constexpr std::uint64_t kLengthBytes = 8;  // of the header, which stand before it
constexpr std::uint64_t kLargestHeader = 100'000'000;
constexpr std::size_t kLargestRank = 64;
constexpr std::string_view kMetadataKey = "__metadata__";

struct TensorInfo {
  at::ScalarType type = at::kFloat;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // of its bytes, from the end of the header
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;  // __metadata__
  std::map<std::string, TensorInfo> tensors;
  std::uint64_t data_offset = 0;  // of the first tensor byte in the file
};

// "F32" and so on; empty for a type that cskd neither reads nor writes.
std::string_view name_of_type(at::ScalarType type);
std::optional<at::ScalarType> type_of_name(std::string_view name);

// For messages: in quotes, ASCII, shortened. REQUIRES: name is UTF-8
std::string shown(std::string_view name);

// "<file> is not a valid safetensors file: <reason>".
runtime::DataError invalid_file(const std::string& file, const std::string& reason);

// Checks, each with its own message: header length at most 100,000,000 and inside the file; UTF-8 that starts with '{';
// no key twice; metadata values are strings; known types; shapes without negative or overflowing products; begin <=
// end; sorted by begin, each tensor starts where the previous ends, the first at 0, the last ends with the file; end -
// begin equals the shape's bytes. Empty and rank-0 tensors are legal. Refused are also fields of a tensor other than
// the format's three, ranks over 64, and shapes whose strides would overflow although a dimension is 0. Throws
// DataError that names the file (exit code 3), Error when it cannot be read. A file that looks like a pickle (.pt,
// .pth: starts with 0x80 or "PK") is refused with how to convert it.
SafetensorsHeader read_safetensors_header(const runtime::InputFile& file);
SafetensorsHeader read_safetensors_header(const std::filesystem::path& path);

// `data_size`: the bytes behind the header. data_offset stays 0. Throws invalid_file. REQUIRES: text starts with '{'
SafetensorsHeader parse_safetensors_header(const std::string& file, std::string_view text, std::uint64_t data_size);

}  // namespace cskd::models
