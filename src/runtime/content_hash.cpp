#include "runtime/content_hash.h"

#include <charconv>
#include <cstring>

#include <fmt/format.h>
#include <xxhash.h>

#include "runtime/check.h"

namespace cskd::runtime {
namespace {

ContentHash canonical(XXH128_hash_t hash) {
  XXH128_canonical_t canonical_form;
  XXH128_canonicalFromHash(&canonical_form, hash);
  ContentHash result;
  std::memcpy(result.bytes.data(), canonical_form.digest, result.bytes.size());
  return result;
}

}  // namespace

std::string ContentHash::hex() const {
  std::string text;
  for (const std::uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

ContentHash ContentHash::from_hex(std::string_view text) {
  ContentHash hash;
  CSKD_CHECK(text.size() == 2 * hash.bytes.size(), "a hash of {} digits", text.size());
  for (size_t i = 0; i < hash.bytes.size(); ++i) {
    const auto [end, error] = std::from_chars(text.data() + 2 * i, text.data() + 2 * i + 2, hash.bytes[i], 16);
    CSKD_CHECK(error == std::errc() && end == text.data() + 2 * i + 2, "'{}' is no hash", text);
  }
  return hash;
}

ContentHash ContentHash::from_bytes(std::string_view bytes) {
  ContentHash hash;
  CSKD_CHECK(bytes.size() == hash.bytes.size(), "a hash of {} bytes", bytes.size());
  std::memcpy(hash.bytes.data(), bytes.data(), bytes.size());
  return hash;
}

std::uint64_t ContentHash::prefix() const noexcept {
  std::uint64_t number = 0;
  for (size_t i = 0; i < 8; ++i) number = (number << 8) | bytes[i];
  return number;
}

ContentHash content_hash(std::span<const std::byte> bytes) {
  return canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

void ContentHasher::Deleter::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

ContentHasher::ContentHasher() : state_(XXH3_createState()) { XXH3_128bits_reset(state_.get()); }

void ContentHasher::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
}

void ContentHasher::add_field(std::string_view text) {
  add_field(text.size());
  add(text);
}

ContentHash ContentHasher::hash() const { return canonical(XXH3_128bits_digest(state_.get())); }

}  // namespace cskd::runtime
