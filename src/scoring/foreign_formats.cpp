#include "scoring/foreign_formats.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string_view>

#include <fmt/format.h>
#include <jxl/decode.h>
#include <jxl/decode_cxx.h>
#include <libheif/heif.h>
#include <libraw/libraw.h>

#include "data/image_header.h"
#include "data/transparency.h"
#include "runtime/error.h"
#include "shards/importers/importer.h"

namespace cskd::scoring {
namespace {

constexpr std::array<std::string_view, 5> kDecodedExtensions{".avif", ".heic", ".heif", ".hif", ".jxl"};
constexpr std::array<std::string_view, 10> kRawExtensions{".arw", ".cr2", ".cr3", ".dng", ".nef",
                                                          ".orf", ".pef", ".raf", ".rw2", ".srw"};

bool is_raw_name(const std::filesystem::path& name) {
  return std::ranges::find(kRawExtensions, shards::kind_of_file(name)) != kRawExtensions.end();
}

bool has_at(std::span<const std::byte> bytes, std::size_t offset, std::string_view text) {
  return bytes.size() >= offset + text.size() && std::memcmp(bytes.data() + offset, text.data(), text.size()) == 0;
}

void require_size(std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1) throw runtime::DataError("a picture without pixels");
  if (width > data::kMostPixels || height > data::kMostPixels || width * height > data::kMostPixels) {
    throw runtime::DataError(
        fmt::format("{} x {} pixels, at most {} million are decoded", width, height, data::kMostPixels / 1'000'000));
  }
}

void check(const heif_error& error) {
  if (error.code != heif_error_Ok)
    throw runtime::DataError(fmt::format("damaged HEIC or AVIF: {}", error.message == nullptr ? "" : error.message));
}

// Of a raw file that `open` has opened, if the status it returns is LIBRAW_SUCCESS.
template <typename Open>
RawPreview preview_after(const Open& open) {
  const auto raw = std::make_unique<LibRaw>();  // half a megabyte
  // Damage is told by what it returns, not on standard error.
  raw->set_dataerror_handler([](void*, const char*, auto) {}, nullptr);
  int status = open(*raw);
  if (status == LIBRAW_SUCCESS) status = raw->unpack_thumb();
  if (status != LIBRAW_SUCCESS)
    throw runtime::DataError(fmt::format("no preview in this raw file: {}", libraw_strerror(status)));
  const libraw_thumbnail_t& thumbnail = raw->imgdata.thumbnail;
  if (thumbnail.tformat != LIBRAW_THUMBNAIL_JPEG) throw runtime::DataError("the preview in this raw file is no JPEG");
  const auto* data = reinterpret_cast<const std::byte*>(thumbnail.thumb);
  RawPreview preview{.jpeg = {data, data + thumbnail.tlength}};
  switch (raw->imgdata.sizes.flip) {
    case 3:
      preview.orientation = 3;
      break;
    case 5:
      preview.orientation = 8;
      break;
    case 6:
      preview.orientation = 6;
      break;
    default:
      break;
  }
  return preview;
}

}  // namespace

std::optional<ForeignFormat> foreign_format(std::span<const std::byte> bytes, const std::filesystem::path& name) {
  // Whatever it is called.
  if (has_at(bytes, 0, "\xFF\xD8\xFF") || has_at(bytes, 0, "\x89PNG") || has_at(bytes, 0, "RIFF")) return std::nullopt;
  constexpr std::array<std::string_view, 10> kHeifBrands{"heic", "heix", "heim", "heis", "hevc",
                                                         "mif1", "msf1", "avif", "avis", "miaf"};
  if (has_at(bytes, 4, "ftyp")) {
    for (const std::string_view brand : kHeifBrands) {
      if (has_at(bytes, 8, brand)) return ForeignFormat::kHeif;
    }
    return is_raw_name(name) ? std::optional(ForeignFormat::kRaw) : std::nullopt;  // Canon's CR3
  }
  if (has_at(bytes, 0, "\xFF\x0A") || has_at(bytes, 0, std::string_view("\0\0\0\x0CJXL \r\n\x87\n", 12)))
    return ForeignFormat::kJpegXl;
  if (is_raw_name(name)) return ForeignFormat::kRaw;
  return std::nullopt;
}

bool has_foreign_extension(const std::filesystem::path& name) {
  return is_raw_name(name) ||
         std::ranges::find(kDecodedExtensions, shards::kind_of_file(name)) != kDecodedExtensions.end();
}

data::Image decode_heif(std::span<const std::byte> bytes, const std::optional<data::Colour>& alpha) {
  const std::unique_ptr<heif_context, void (*)(heif_context*)> context(heif_context_alloc(), heif_context_free);
  check(heif_context_read_from_memory_without_copy(context.get(), bytes.data(), bytes.size(), nullptr));
  heif_image_handle* found = nullptr;
  check(heif_context_get_primary_image_handle(context.get(), &found));
  const std::unique_ptr<heif_image_handle, void (*)(const heif_image_handle*)> handle(found, heif_image_handle_release);
  require_size(heif_image_handle_get_width(handle.get()), heif_image_handle_get_height(handle.get()));
  const bool has_alpha = alpha && heif_image_handle_has_alpha_channel(handle.get()) != 0;
  heif_image* decoded = nullptr;
  check(heif_decode_image(handle.get(), &decoded, heif_colorspace_RGB,
                          has_alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB, nullptr));
  const std::unique_ptr<heif_image, void (*)(const heif_image*)> image(decoded, heif_image_release);
  const int width = heif_image_get_width(image.get(), heif_channel_interleaved);
  const int height = heif_image_get_height(image.get(), heif_channel_interleaved);
  require_size(width, height);
  int stride = 0;
  const std::uint8_t* rows = heif_image_get_plane_readonly(image.get(), heif_channel_interleaved, &stride);
  if (rows == nullptr) throw runtime::DataError("damaged HEIC or AVIF: it has no pixels");
  const std::size_t channels = has_alpha ? 4 : 3;
  const std::size_t row_bytes = channels * static_cast<std::size_t>(width);
  std::vector<std::uint8_t> pixels(row_bytes * static_cast<std::size_t>(height));
  for (int y = 0; y < height; ++y)
    std::memcpy(pixels.data() + static_cast<std::size_t>(y) * row_bytes, rows + std::ptrdiff_t{stride} * y, row_bytes);
  if (!has_alpha) return {width, height, std::move(pixels)};
  return {width, height, data::laid_over(pixels, *alpha)};
}

data::Image decode_jpeg_xl(std::span<const std::byte> bytes, const std::optional<data::Colour>& alpha) {
  const JxlDecoderPtr decoder = JxlDecoderMake(nullptr);
  JxlDecoderSubscribeEvents(decoder.get(), JXL_DEC_BASIC_INFO | JXL_DEC_COLOR_ENCODING | JXL_DEC_FULL_IMAGE);
  JxlDecoderSetInput(decoder.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  JxlDecoderCloseInput(decoder.get());
  JxlBasicInfo info{};
  data::Image image;
  std::vector<std::uint8_t> pixels;
  JxlPixelFormat format{3, JXL_TYPE_UINT8, JXL_NATIVE_ENDIAN, 0};
  bool has_alpha = false;
  for (;;) {
    const JxlDecoderStatus status = JxlDecoderProcessInput(decoder.get());
    if (status == JXL_DEC_BASIC_INFO) {
      if (JxlDecoderGetBasicInfo(decoder.get(), &info) != JXL_DEC_SUCCESS)
        throw runtime::DataError("damaged JPEG XL: no size");
      require_size(info.xsize, info.ysize);
      has_alpha = alpha && info.alpha_bits > 0;
      format.num_channels = has_alpha ? 4 : 3;
    } else if (status == JXL_DEC_COLOR_ENCODING) {
      // What was stored without a profile of its own comes as sRGB; lossless pictures keep theirs.
      JxlColorEncoding srgb{};
      srgb.color_space = info.num_color_channels == 1 ? JXL_COLOR_SPACE_GRAY : JXL_COLOR_SPACE_RGB;
      srgb.white_point = JXL_WHITE_POINT_D65;
      srgb.primaries = JXL_PRIMARIES_SRGB;
      srgb.transfer_function = JXL_TRANSFER_FUNCTION_SRGB;
      srgb.rendering_intent = JXL_RENDERING_INTENT_RELATIVE;
      JxlDecoderSetPreferredColorProfile(decoder.get(), &srgb);
    } else if (status == JXL_DEC_NEED_IMAGE_OUT_BUFFER) {
      std::size_t size = 0;
      if (JxlDecoderImageOutBufferSize(decoder.get(), &format, &size) != JXL_DEC_SUCCESS)
        throw runtime::DataError("damaged JPEG XL: no pixels");
      pixels.resize(size);
      JxlDecoderSetImageOutBuffer(decoder.get(), &format, pixels.data(), pixels.size());
    } else if (status == JXL_DEC_FULL_IMAGE || status == JXL_DEC_SUCCESS) {
      break;  // of an animation the first picture
    } else {
      throw runtime::DataError(status == JXL_DEC_NEED_MORE_INPUT ? "damaged JPEG XL: data ends early"
                                                                 : "damaged JPEG XL");
    }
  }
  if (pixels.empty()) throw runtime::DataError("damaged JPEG XL: no pixels");
  // The decoder has turned it upright.
  image.width = static_cast<int>(info.xsize);
  image.height = static_cast<int>(info.ysize);
  image.rgb = has_alpha ? data::laid_over(pixels, *alpha) : std::move(pixels);
  return image;
}

RawPreview raw_preview(const std::filesystem::path& file) {
  return preview_after([&](LibRaw& raw) { return raw.open_file(file.c_str()); });
}

RawPreview raw_preview(std::span<const std::byte> bytes) {
  // It reads and never writes; its interface came before const.
  return preview_after(
      [&](LibRaw& raw) { return raw.open_buffer(const_cast<std::byte*>(bytes.data()), bytes.size()); });
}

}  // namespace cskd::scoring
