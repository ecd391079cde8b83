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

}  // namespace

Image decode_png(std::span<const std::byte> bytes, const ImageHeader& header) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> context(spng_ctx_new(0), spng_ctx_free);
  if (!context) throw std::bad_alloc();
  check(spng_set_image_limits(context.get(), static_cast<std::uint32_t>(header.stored_width),
                              static_cast<std::uint32_t>(header.stored_height)));
  check(spng_set_chunk_limits(context.get(), kMostMetadataBytes, kMostMetadataBytes));
  check(spng_set_png_buffer(context.get(), bytes.data(), bytes.size()));
  std::size_t size = 0;
  check(spng_decoded_image_size(context.get(), SPNG_FMT_RGB8, &size));
  Image image{header.stored_width, header.stored_height, {}};
  image.rgb.resize(std::size_t{3} * static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height));
  if (size != image.rgb.size()) throw runtime::DataError("damaged PNG: another size than its header says");
  check(spng_decode_image(context.get(), image.rgb.data(), image.rgb.size(), SPNG_FMT_RGB8, 0));
  // libspng stops at the last pixel, before the checksum of the data that it came from.
  check(spng_decode_chunks(context.get()));
  return image;
}

}  // namespace cskd::data
