// XXH3-128 of contents: which bytes they are, not who wrote them (not cryptographic).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace cskd::runtime {

struct ContentHash {
  std::array<std::uint8_t, 16> bytes{};  // canonical (big-endian) form of XXH3-128

  auto operator<=>(const ContentHash&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 misreads <=>
  std::string hex() const;                               // 32 lower-case digits
  static ContentHash from_hex(std::string_view text);    // REQUIRES: as hex() gives it
  // Of 16 bytes as they are stored. REQUIRES: 16 bytes
  static ContentHash from_bytes(std::string_view bytes);
  // The first eight bytes as a number, most significant first.
  std::uint64_t prefix() const noexcept;
};

ContentHash content_hash(std::span<const std::byte> bytes);
inline ContentHash content_hash(std::string_view text) { return content_hash(std::as_bytes(std::span(text))); }

// The hash of what is added in parts.
class ContentHasher {
 public:
  ContentHasher();
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  // The text and its length, so that ("ab", "c") and ("a", "bc") differ.
  void add_field(std::string_view text);
  void add_field(std::uint64_t number) { add(std::as_bytes(std::span(&number, 1))); }
  ContentHash hash() const;

 private:
  struct Deleter {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Deleter> state_;
};

}  // namespace cskd::runtime

template <>
struct std::hash<cskd::runtime::ContentHash> {
  std::size_t operator()(const cskd::runtime::ContentHash& value) const noexcept { return value.prefix(); }
};
