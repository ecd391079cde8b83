#include "scoring/opened_photo.h"

#include <algorithm>

#include <fmt/format.h>

#include "data/render_view.h"
#include "data/thumbnail.h"
#include "data/transparency.h"
#include "data/view.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "scoring/foreign_formats.h"

namespace cskd::scoring {
namespace {

constexpr std::uint64_t kLargestPhoto = std::uint64_t{1} << 29;

// Of a raw file of its own only the first bytes, which say that it is one.
std::vector<std::byte> read(const Photo& photo) {
  constexpr std::uint64_t kHead = 4096;
  if (!photo.fault.empty()) throw runtime::DataError(photo.fault);
  const runtime::InputFile file(photo.file);
  const std::uint64_t size = photo.is_whole_file ? file.size() : photo.size;
  if (size > kLargestPhoto) throw runtime::DataError(fmt::format("{} bytes are more than a photo has", size));
  if (photo.is_whole_file && has_foreign_extension(photo.name)) {
    std::vector<std::byte> head = file.read_at(0, std::min(size, kHead));
    if (foreign_format(head, photo.name) == ForeignFormat::kRaw) return head;
  }
  return file.read_at(photo.offset, size);
}

}  // namespace

OpenedPhoto::OpenedPhoto(const Photo& photo, const std::optional<data::Colour>& alpha) : bytes_(read(photo)) {
  const std::optional<ForeignFormat> foreign = foreign_format(bytes_, photo.name);
  if (foreign == ForeignFormat::kHeif) {
    image_ = decode_heif(bytes_, alpha);
  } else if (foreign == ForeignFormat::kJpegXl) {
    image_ = decode_jpeg_xl(bytes_, alpha);
  } else if (foreign == ForeignFormat::kRaw) {
    RawPreview preview = photo.is_whole_file ? raw_preview(photo.file) : raw_preview(bytes_);
    bytes_ = std::move(preview.jpeg);
    header_ = data::read_image_header(bytes_);
    // Cameras put the preview's own turn into it or leave that to the raw file.
    if (header_.orientation == 1) header_.orientation = preview.orientation;
  } else {
    header_ = data::read_image_header(bytes_);
    if (alpha) image_ = data::laid_over(bytes_, header_, *alpha);
  }
}

void OpenedPhoto::render(int side, data::ResizeMode mode, std::span<std::uint8_t> target) const {
  if (image_) {
    data::resize(*image_,
                 {.width = image_->width,
                  .height = image_->height,
                  .box = {0, 0, static_cast<double>(image_->width), static_cast<double>(image_->height)},
                  .target_width = side,
                  .target_height = side,
                  .filter = data::kViewFilter,
                  .mode = mode},
                 target);
    return;
  }
  data::render_view(bytes_, header_, data::whole_view(header_.width(), header_.height(), false), side, mode, target);
}

data::Image OpenedPhoto::shrunk(int side) const {
  return image_ ? data::shrunk(*image_, side) : data::shrunk(bytes_, header_, side);
}

}  // namespace cskd::scoring
