#include "data/webp_decoder.h"

#include <new>

#include <fmt/format.h>
#include <webp/decode.h>

#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::data {
namespace {

const char* reason(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_BITSTREAM_ERROR:
      return "bad bit stream";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "unsupported feature";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return "data ends early";
    default:
      return "libwebp gives no reason";
  }
}

std::vector<std::uint8_t> decode_pixels(std::span<const std::byte> bytes, const ImageHeader& header, WEBP_CSP_MODE mode,
                                        int channels) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(channels) * static_cast<std::size_t>(header.stored_width) *
                                   static_cast<std::size_t>(header.stored_height));
  WebPDecoderConfig config;
  CSKD_CHECK(WebPInitDecoderConfig(&config) != 0, "libwebp is older than its header");
  config.output.colorspace = mode;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {pixels.data(), channels * header.stored_width, pixels.size()};
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  VP8StatusCode status = WebPGetFeatures(data, bytes.size(), &config.input);
  if (status == VP8_STATUS_OK &&
      (config.input.width != header.stored_width || config.input.height != header.stored_height)) {
    throw runtime::DataError("damaged WebP: another size than its header says");
  }
  if (status == VP8_STATUS_OK) status = WebPDecode(data, bytes.size(), &config);
  WebPFreeDecBuffer(&config.output);
  if (status == VP8_STATUS_OUT_OF_MEMORY) throw std::bad_alloc();
  if (status != VP8_STATUS_OK) throw runtime::DataError(fmt::format("damaged WebP: {}", reason(status)));
  return pixels;
}

}  // namespace

Image decode_webp(std::span<const std::byte> bytes, const ImageHeader& header) {
  return {header.stored_width, header.stored_height, decode_pixels(bytes, header, MODE_RGB, 3)};
}

std::vector<std::uint8_t> decode_webp_rgba(std::span<const std::byte> bytes, const ImageHeader& header) {
  return decode_pixels(bytes, header, MODE_RGBA, 4);
}

}  // namespace cskd::data
