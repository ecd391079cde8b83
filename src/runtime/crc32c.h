// CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4), with the processor's instruction where it has one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cskd::runtime {

// The checksum of `bytes` appended to what gave `previous`: crc32c(b, crc32c(a)) == crc32c(a + b).
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0) noexcept;

// The same by table, for processors without the instruction and to check it against.
std::uint32_t crc32c_by_table(std::span<const std::byte> bytes, std::uint32_t previous = 0) noexcept;

}  // namespace cskd::runtime
