#include "data/jpeg_decoder.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <jerror.h>
#include <jpeglib.h>

#include "data/jpeg_block_means.h"
#include "runtime/error.h"

namespace cskd::data {
namespace {

// Note [libjpeg and longjmp]
// libjpeg reports by calling on_failure, which must not return and cannot throw through C frames. It jumps back into
// run(). Between the two lie only C frames and functions of ours whose variables have no destructor; everything that
// owns something (the decompressor, the image) lives in the caller of run() and is released by its destructor there.
// run() itself changes no variable of its own after setjmp.

// A file with more scans than any encoder writes (libjpeg's progressive script has 10) is made to keep a decoder busy:
// every scan of it, a few bytes long, passes over the whole picture.
constexpr int kMostScans = 200;

struct Decompressor {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf place{};
  char text[JMSG_LENGTH_MAX] = {};

  Decompressor() = default;
  ~Decompressor() { jpeg_destroy_decompress(&info); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;
};

Decompressor& owner(j_common_ptr info) { return *static_cast<Decompressor*>(info->client_data); }

[[noreturn]] void refuse(Decompressor& decompressor, const char* text) {
  std::strncpy(decompressor.text, text, sizeof decompressor.text - 1);
  std::longjmp(decompressor.place, 1);
}

[[noreturn]] void on_failure(j_common_ptr info) {
  Decompressor& decompressor = owner(info);
  info->err->format_message(info, decompressor.text);
  std::longjmp(decompressor.place, 1);
}

// Whether a warning is of a file that every viewer shows whole: its version or colour transform is unknown, the first
// scan of a sequential file has odd parameters, which its decoder does not need, or stray bytes lie between segments.
// Those in front of a restart marker are data that was not understood.
bool is_harmless(const jpeg_error_mgr& message) {
  switch (message.msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
      return true;
    case JWRN_EXTRANEOUS_DATA: {
      const int marker = message.msg_parm.i[1];
      return marker < JPEG_RST0 || marker > JPEG_RST0 + 7;
    }
    default:
      return false;
  }
}

// Level -1 is a warning: mostly data is damaged or missing and libjpeg would go on with invented pixels. One is enough.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && !is_harmless(*info->err)) on_failure(info);
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMostScans) {
    refuse(owner(info), "more than 200 scans");
  }
}

// Adobe stores ink inverted, and every writer of CMYK follows it. With c, k the ink, (255 - c) * (255 - k) / 255,
// rounded as Pillow rounds.
void convert_cmyk(const std::uint8_t* from, int pixels, PixelLayout layout, std::uint8_t* to) {
  for (int i = 0; i < pixels; ++i, from += 4, to += static_cast<int>(layout)) {
    const unsigned light = from[3];
    for (int c = 0; c < 3; ++c) {
      const unsigned product = (255U - from[c]) * light + 128U;
      to[c] = static_cast<std::uint8_t>(light - (((product >> 8U) + product) >> 8U));
    }
  }
}

// Note [Crops of JPEG]
// A chroma sample that is shared by several pixels is interpolated from its neighbours, and libjpeg takes the sides of
// a cropped area for the sides of the picture. One more iMCU column to the left and to the right makes every pixel of
// the box an inner one, so that it equals that of the whole picture. Above and below nothing more is needed:
// jpeg_skip_scanlines still decodes what the first row is interpolated from.
struct Columns {
  JDIMENSION first;
  JDIMENSION count;
};

Columns columns_around(const jpeg_decompress_struct& info, const Box& box) {
  const int step = info.max_h_samp_factor * info.min_DCT_scaled_size;
  const int picture = static_cast<int>(info.output_width);
  const int first = std::max(0, (box.x / step - 1) * step);
  const int end = std::min(picture, ((box.x + box.width - 1) / step + 2) * step);
  return {static_cast<JDIMENSION>(first), static_cast<JDIMENSION>(end - first)};
}

void start(Decompressor& decompressor, const ImageHeader& header, int reduction, PixelLayout layout) {
  jpeg_decompress_struct& info = decompressor.info;
  jpeg_read_header(&info, TRUE);
  if (info.image_width != static_cast<JDIMENSION>(header.stored_width) ||
      info.image_height != static_cast<JDIMENSION>(header.stored_height)) {
    refuse(decompressor, "another size than its header says");
  }
  if (info.num_components == 2 || info.num_components > 4) refuse(decompressor, "neither grey, colour nor CMYK");
  const J_COLOR_SPACE colours = layout == PixelLayout::kRgb ? JCS_RGB : JCS_EXT_RGBX;
  info.out_color_space = info.num_components == 4 ? JCS_CMYK : colours;
  info.scale_num = 1;
  info.scale_denom = static_cast<unsigned>(reduction);
  info.dct_method = JDCT_ISLOW;
  // It changes only files whose scans leave out coefficients, and there a crop would differ from the whole.
  info.do_block_smoothing = FALSE;
  jpeg_start_decompress(&info);
}

// Note [Rows past the cache]
// libjpeg-turbo writes a row of pixels past the cache, straight to memory, when its address is a multiple of 32 bytes:
// good for a picture that is looked at later, bad for a strip that is used at once, which then waits for memory. So the
// rows of a strip begin elsewhere; those of three-byte pixels, which lie without gaps, mostly do.
constexpr std::size_t kLine = 64;
constexpr std::size_t kOffset = 8;

std::size_t pitch_of(std::size_t row_bytes, PixelLayout layout) {
  return layout == PixelLayout::kRgbx ? (row_bytes + kLine - 1) / kLine * kLine : row_bytes;
}

class StripMemory {
 public:
  std::uint8_t* with_room_for(std::size_t size) {
    memory_ = std::make_unique_for_overwrite<std::uint8_t[]>(kLine + kOffset + size + kReadBehind);
    const std::size_t beyond = reinterpret_cast<std::uintptr_t>(memory_.get()) % kLine;
    return memory_.get() + (kLine - beyond) + kOffset;
  }

 private:
  std::unique_ptr<std::uint8_t[]> memory_;
};

// What to read, and where to put a strip of it. Owns nothing.
struct Reading {
  const ImageHeader& header;
  Box box;
  int reduction;
  PixelLayout layout;
  int strip;
  const TakeRows& take;
  StripMemory& rows;
};

// Rows are decoded into the buffer with all columns that libjpeg needs for them. Only CMYK, which has to be converted,
// goes through a row of libjpeg's own.
void read_rows(Decompressor& decompressor, const Reading& reading) {
  start(decompressor, reading.header, reading.reduction, reading.layout);
  jpeg_decompress_struct& info = decompressor.info;
  const Box& box = reading.box;
  const bool whole =
      box.width == static_cast<int>(info.output_width) && box.height == static_cast<int>(info.output_height);
  Columns columns{0, info.output_width};
  if (!whole) {
    columns = columns_around(info, box);
    jpeg_crop_scanline(&info, &columns.first, &columns.count);
    jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(box.y));
  }

  const auto channels = static_cast<std::size_t>(reading.layout);
  const std::size_t pitch = pitch_of(channels * columns.count, reading.layout);
  const std::size_t left = channels * (static_cast<JDIMENSION>(box.x) - columns.first);
  const bool cmyk = info.out_color_space == JCS_CMYK;
  JSAMPARRAY ink = nullptr;
  if (cmyk) ink = (*info.mem->alloc_sarray)(reinterpret_cast<j_common_ptr>(&info), JPOOL_IMAGE, 4 * columns.count, 1);
  std::uint8_t* buffer =
      reading.rows.with_room_for(pitch * static_cast<std::size_t>(std::min(reading.strip, box.height)));
  for (int first = 0; first < box.height; first += reading.strip) {
    const int count = std::min(reading.strip, box.height - first);
    for (int row = 0; row < count; ++row) {
      JSAMPROW target = buffer + pitch * static_cast<std::size_t>(row);
      jpeg_read_scanlines(&info, cmyk ? ink : &target, 1);
      if (cmyk) convert_cmyk(ink[0], static_cast<int>(columns.count), reading.layout, target);
    }
    reading.take(first, count, buffer + left, pitch);
  }
  // Reads up to the end-of-image marker, so that damage after the last pixel is found too.
  if (whole) jpeg_finish_decompress(&info);
}

// Calls read(decompressor), and tells whether that went well; decompressor.text says why not. See Note [libjpeg and
// longjmp]: `read` is called by reference, and owns nothing.
template <typename Read>
bool run(Decompressor& decompressor, std::span<const std::byte> bytes, const Read& read) {
  jpeg_decompress_struct& info = decompressor.info;
  info.err = jpeg_std_error(&decompressor.errors);
  decompressor.errors.error_exit = on_failure;
  decompressor.errors.emit_message = on_message;
  info.client_data = &decompressor;
  decompressor.progress.progress_monitor = on_progress;
  if (setjmp(decompressor.place) != 0) return false;
  jpeg_create_decompress(&info);
  info.progress = &decompressor.progress;
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  read(decompressor);
  return true;
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box, int reduction,
                  ColourDetail colour) {
  constexpr int kStrip = 16;
  const std::size_t row_bytes = std::size_t{3} * static_cast<std::size_t>(box.width);
  Image image{box.width, box.height, {}};
  image.rgb.resize(row_bytes * static_cast<std::size_t>(box.height));
  decode_jpeg_rows(bytes, header, box, reduction, colour, PixelLayout::kRgb, kStrip,
                   [&](int first, int count, const std::uint8_t* rows, std::size_t pitch) {
                     for (int row = first; row < first + count; ++row, rows += pitch)
                       std::memcpy(image.row(row), rows, row_bytes);
                   });
  return image;
}

void decode_jpeg_rows(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box, int reduction,
                      ColourDetail colour, PixelLayout layout, int strip, const TakeRows& take) {
  if (reduction == 8) {
    if (const auto means = decode_block_means(bytes, header, box.y + box.height, colour, layout)) {
      const auto channels = static_cast<std::size_t>(layout);
      const std::size_t pitch = channels * static_cast<std::size_t>(means->width);
      const std::uint8_t* const rows = means->pixels.data() + channels * static_cast<std::size_t>(box.x);
      for (int first = 0; first < box.height; first += strip)
        take(first, std::min(strip, box.height - first), rows + pitch * static_cast<std::size_t>(box.y + first), pitch);
      return;
    }
  }
  Decompressor decompressor;
  StripMemory rows;
  const Reading reading{header, box, reduction, layout, strip, take, rows};
  if (!run(decompressor, bytes, [&](Decompressor& running) { read_rows(running, reading); }))
    throw runtime::DataError(fmt::format("damaged JPEG: {}", decompressor.text));
}

}  // namespace cskd::data
