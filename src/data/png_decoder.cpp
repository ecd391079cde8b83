#include "data/png_decoder.h"

#include <memory>
#include <new>

#include <fmt/format.h>
#include <spng.h>

#include "runtime/error.h"

namespace cskd::data {
namespace {

// Metadata, unpacked: colour profiles and texts. A small file can hold gigabytes of them.
constexpr std::size_t kMostMetadataBytes = std::size_t{64} << 20U;

void check(int status) {
  if (status != SPNG_OK) throw runtime::DataError(fmt::format("damaged PNG: {}", spng_strerror(status)));
}

// Pixels of `channels` bytes, in libspng's format for so many.
std::vector<std::uint8_t> decode_pixels(std::span<const std::byte> bytes, const ImageHeader& header, int format,
                                        std::size_t channels, int flags) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> context(spng_ctx_new(0), spng_ctx_free);
  if (!context) throw std::bad_alloc();
  check(spng_set_image_limits(context.get(), static_cast<std::uint32_t>(header.stored_width),
                              static_cast<std::uint32_t>(header.stored_height)));
  check(spng_set_chunk_limits(context.get(), kMostMetadataBytes, kMostMetadataBytes));
  check(spng_set_png_buffer(context.get(), bytes.data(), bytes.size()));
  std::size_t size = 0;
  check(spng_decoded_image_size(context.get(), format, &size));
  std::vector<std::uint8_t> pixels(channels * static_cast<std::size_t>(header.stored_width) *
                                   static_cast<std::size_t>(header.stored_height));
  if (size != pixels.size()) throw runtime::DataError("damaged PNG: another size than its header says");
  check(spng_decode_image(context.get(), pixels.data(), pixels.size(), format, flags));
  // libspng stops at the last pixel, before the checksum of the data that it came from.
  check(spng_decode_chunks(context.get()));
  return pixels;
}

}  // namespace

Image decode_png(std::span<const std::byte> bytes, const ImageHeader& header) {
  return {header.stored_width, header.stored_height, decode_pixels(bytes, header, SPNG_FMT_RGB8, 3, 0)};
}

std::vector<std::uint8_t> decode_png_rgba(std::span<const std::byte> bytes, const ImageHeader& header) {
  return decode_pixels(bytes, header, SPNG_FMT_RGBA8, 4, SPNG_DECODE_TRNS);
}

}  // namespace cskd::data
