// The JSON header of a safetensors file, apart from the file: what safetensors.h promises of it is checked here.
//
// Refused beyond the list there: fields of a tensor other than the format's three, ranks over 64, and shapes whose
// strides would overflow although a dimension is 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <c10/core/ScalarType.h>

#include "models/safetensors.h"
#include "runtime/error.h"

namespace cskd::models {

constexpr std::uint64_t kLargestHeader = 100'000'000;
constexpr std::size_t kLargestRank = 64;
constexpr std::string_view kMetadataKey = "__metadata__";

// "F32" and so on; empty for a type that cskd neither reads nor writes.
std::string_view name_of_type(at::ScalarType type);
std::optional<at::ScalarType> type_of_name(std::string_view name);

// For messages: in quotes, ASCII, shortened. REQUIRES: name is UTF-8
std::string shown(std::string_view name);

// "<file> is no valid safetensors file: <reason>".
runtime::DataError invalid_file(const std::string& file, const std::string& reason);

// `data_size`: the bytes behind the header. data_offset stays 0. Throws invalid_file. REQUIRES: text starts with '{'
SafetensorsHeader parse_safetensors_header(const std::string& file, std::string_view text, std::uint64_t data_size);

}  // namespace cskd::models
