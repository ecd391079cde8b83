#include "data/jpeg_decoder.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <jpeglib.h>

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

// Level -1 is a warning: data is damaged or missing and libjpeg would go on with invented pixels. One is enough.
void on_message(j_common_ptr info, int level) {
  if (level < 0) on_failure(info);
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMostScans) {
    refuse(owner(info), "more than 200 scans");
  }
}

// Adobe stores ink inverted, and every writer of CMYK follows it. With c, k the ink, (255 - c) * (255 - k) / 255,
// rounded as Pillow rounds.
void convert_cmyk(const std::uint8_t* from, int pixels, std::uint8_t* to) {
  for (int i = 0; i < pixels; ++i, from += 4, to += 3) {
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

void start(Decompressor& decompressor, const ImageHeader& header, int reduction) {
  jpeg_decompress_struct& info = decompressor.info;
  jpeg_read_header(&info, TRUE);
  if (info.image_width != static_cast<JDIMENSION>(header.stored_width) ||
      info.image_height != static_cast<JDIMENSION>(header.stored_height)) {
    refuse(decompressor, "another size than its header says");
  }
  if (info.num_components == 2 || info.num_components > 4) refuse(decompressor, "neither grey, colour nor CMYK");
  info.out_color_space = info.num_components == 4 ? JCS_CMYK : JCS_RGB;
  info.scale_num = 1;
  info.scale_denom = static_cast<unsigned>(reduction);
  info.dct_method = JDCT_ISLOW;
  // It changes only files whose scans leave out coefficients, and there a crop would differ from the whole.
  info.do_block_smoothing = FALSE;
  jpeg_start_decompress(&info);
}

// Reads the next row, converted to RGB. `buffer` holds a row of CMYK.
void read_row(jpeg_decompress_struct& info, JSAMPARRAY buffer, std::uint8_t* target) {
  const bool cmyk = info.out_color_space == JCS_CMYK;
  JSAMPROW row = cmyk ? buffer[0] : target;
  jpeg_read_scanlines(&info, &row, 1);
  if (cmyk) convert_cmyk(row, static_cast<int>(info.output_width), target);
}

JSAMPARRAY row_buffer(jpeg_decompress_struct& info, JDIMENSION columns) {
  return (*info.mem->alloc_sarray)(reinterpret_cast<j_common_ptr>(&info), JPOOL_IMAGE,
                                   columns * static_cast<JDIMENSION>(info.output_components), 1);
}

void read_box(Decompressor& decompressor, const ImageHeader& header, const Box& box, int reduction,
              std::uint8_t* target) {
  start(decompressor, header, reduction);
  jpeg_decompress_struct& info = decompressor.info;
  const bool whole =
      box.width == static_cast<int>(info.output_width) && box.height == static_cast<int>(info.output_height);
  Columns columns{0, info.output_width};
  if (!whole) {
    columns = columns_around(info, box);
    jpeg_crop_scanline(&info, &columns.first, &columns.count);
    jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(box.y));
  }

  JSAMPARRAY buffer = row_buffer(info, columns.count);
  const std::size_t row_bytes = std::size_t{3} * static_cast<std::size_t>(box.width);
  if (whole) {
    for (int y = 0; y < box.height; ++y, target += row_bytes) read_row(info, buffer, target);
    // Reads up to the end-of-image marker, so that damage after the last pixel is found too.
    jpeg_finish_decompress(&info);
    return;
  }
  const auto channels = static_cast<std::size_t>(info.output_components);
  const JSAMPLE* first_pixel = buffer[0] + (static_cast<JDIMENSION>(box.x) - columns.first) * channels;
  for (int y = 0; y < box.height; ++y, target += row_bytes) {
    jpeg_read_scanlines(&info, buffer, 1);
    if (info.out_color_space == JCS_CMYK) {
      convert_cmyk(first_pixel, box.width, target);
    } else {
      std::memcpy(target, first_pixel, row_bytes);
    }
  }
}

// Reads all rows in strips, into `target` each time.
void read_strips(Decompressor& decompressor, const ImageHeader& header, int strip, const TakeRows& take,
                 std::uint8_t* target) {
  start(decompressor, header, 1);
  jpeg_decompress_struct& info = decompressor.info;
  JSAMPARRAY buffer = row_buffer(info, info.output_width);
  const std::size_t row_bytes = std::size_t{3} * static_cast<std::size_t>(header.stored_width);
  for (int first = 0; first < header.stored_height; first += strip) {
    const int count = std::min(strip, header.stored_height - first);
    for (int row = 0; row < count; ++row) read_row(info, buffer, target + row_bytes * static_cast<std::size_t>(row));
    take(first, count, target);
  }
  jpeg_finish_decompress(&info);
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

void decode_or_throw(std::span<const std::byte> bytes, const auto& read) {
  Decompressor decompressor;
  if (!run(decompressor, bytes, read)) throw runtime::DataError(fmt::format("damaged JPEG: {}", decompressor.text));
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box, int reduction) {
  Image image{box.width, box.height, {}};
  image.rgb.resize(std::size_t{3} * static_cast<std::size_t>(box.width) * static_cast<std::size_t>(box.height));
  decode_or_throw(
      bytes, [&](Decompressor& decompressor) { read_box(decompressor, header, box, reduction, image.rgb.data()); });
  return image;
}

void decode_jpeg_rows(std::span<const std::byte> bytes, const ImageHeader& header, int strip, const TakeRows& take) {
  const auto rows = static_cast<std::size_t>(std::min(strip, header.stored_height));
  std::vector<std::uint8_t> target(3 * rows * static_cast<std::size_t>(header.stored_width));
  decode_or_throw(bytes,
                  [&](Decompressor& decompressor) { read_strips(decompressor, header, strip, take, target.data()); });
}

}  // namespace cskd::data
