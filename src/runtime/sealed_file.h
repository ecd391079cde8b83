// A small file with a checksum over what it holds, so that a damaged one is noticed before it is parsed.
//
// Layout: 8 bytes magic, u32 version, u32 zero, u64 payload length, 16 bytes XXH3-128 of the payload (canonical),
// payload. Numbers are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "runtime/atomic_file.h"

namespace cskd::runtime {

constexpr std::size_t kSealedHeader = 40;  // bytes before the payload

// Written atomically (Note [Atomic files]). REQUIRES: magic has 8 characters
FileFacts write_sealed_file(const std::filesystem::path& path, std::string_view magic, std::uint32_t version,
                            std::string_view payload);

// The payload. Throws Error when the file cannot be read, DataError when it is of another kind, of another version than
// `version`, cut off, or damaged.
std::string read_sealed_file(const std::filesystem::path& path, std::string_view magic, std::uint32_t version);

}  // namespace cskd::runtime
