#include "packing/image_check.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <new>
#include <span>

#include <fmt/format.h>

#include "data/decode.h"
#include "data/jpeg_decoder.h"
#include "data/jpeg_encoder.h"
#include "data/perceptual_hash.h"
#include "data/png_encoder.h"
#include "data/resize.h"
#include "data/transparency.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::packing {
namespace {

constexpr std::uint64_t kLargestPicture = 256ULL << 20;  // encoded bytes
constexpr std::int64_t kMillion = 1'000'000;

template <typename Bytes>
std::string as_text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_too_large(const config::Packing& packing, const data::ImageHeader& header) {
  return packing.max_side() > 0 && std::max(header.width(), header.height()) > static_cast<int>(packing.max_side());
}

// What the pixels of a picture tell: XXH3-128 of width, height (i32) and the upright rows, and its appearance.
class PixelFacts {
 public:
  explicit PixelFacts(const data::ImageHeader& header)
      : appearance_(header.width(), header.height()), width_(header.width()) {
    const std::array<std::int32_t, 2> size{header.width(), header.height()};
    hasher_.add(std::as_bytes(std::span(size)));
  }

  int strip() const { return appearance_.strip(); }
  void add(const std::uint8_t* rows, int count) {
    const std::size_t bytes = std::size_t{3} * static_cast<std::size_t>(width_) * static_cast<std::size_t>(count);
    hasher_.add(std::as_bytes(std::span(rows, bytes)));
    appearance_.add(rows, count);
    if (!is_begun_) std::copy_n(rows, first_.size(), first_.begin());
    is_begun_ = true;
    // Each pixel is the one before it.
    is_blank_ = is_blank_ && std::equal(first_.begin(), first_.end(), rows) &&
                std::memcmp(rows, rows + first_.size(), bytes - first_.size()) == 0;
  }
  void add(const data::Image& image) {
    for (int y = 0; y < image.height; y += strip()) add(image.row(y), std::min(strip(), image.height - y));
  }

  runtime::ContentHash hash() const { return hasher_.hash(); }
  data::Appearance appearance() const { return appearance_.appearance(); }
  // All pixels have one colour: "#rrggbb".
  std::optional<std::string> blank_colour() const {
    if (!is_blank_) return std::nullopt;
    return fmt::format("#{:02x}{:02x}{:02x}", first_[0], first_[1], first_[2]);
  }

 private:
  runtime::ContentHasher hasher_;
  data::RowAppearance appearance_;
  int width_;
  data::Colour first_{};  // pixel
  bool is_begun_ = false;
  bool is_blank_ = true;
};

// What is stored of a picture that is not stored as it came.
struct Restored {
  std::vector<std::byte> bytes;
  int width = 0, height = 0;
  data::ImageFormat format = data::ImageFormat::kJpeg;
};

Restored compressed_smaller(const config::Packing& packing, const data::Image& image) {
  const auto side = static_cast<std::int64_t>(packing.max_side());
  const std::int64_t longer = std::max(image.width, image.height);
  const auto scaled = [&](std::int64_t length) {
    return static_cast<int>(std::max<std::int64_t>(1, (2 * length * side + longer) / (2 * longer)));
  };
  const int width = scaled(image.width);
  const int height = scaled(image.height);
  const data::Image small =
      data::resize(image, {0, 0, image.width, image.height}, width, height, data::Filter::kBicubic);
  return {data::encode_jpeg(small, static_cast<int>(packing.quality())), width, height, data::ImageFormat::kJpeg};
}

Restored as_png(const data::Image& image) {
  const std::string png = data::encode_png(image);
  const auto bytes = std::as_bytes(std::span(png));
  return {{bytes.begin(), bytes.end()}, image.width, image.height, data::ImageFormat::kPng};
}

// The picture over the colour that packing.alpha names; nothing where it is to be taken as it is.
std::optional<data::Image> over_colour(const config::Packing& packing, std::span<const std::byte> bytes,
                                       const data::ImageHeader& header) {
  const std::optional<data::Colour> colour = alpha_colour(packing);
  return colour ? data::laid_over(bytes, header, *colour) : std::nullopt;
}

std::vector<std::byte> check(const config::Packing& packing, shards::SurveyChunk::Picture& picture,
                             DecodingMemory& memory) {
  if (picture.size() > kLargestPicture) {
    throw runtime::DataError(fmt::format("{} bytes, at most {} are read", picture.size(), kLargestPicture));
  }
  const std::vector<std::byte> bytes = read_picture(picture);
  const runtime::ContentHash file_hash = runtime::content_hash(bytes);
  const data::ImageHeader header = data::read_image_header(bytes, packing.max_megapixels() * kMillion);
  constexpr int kLongestSide = std::numeric_limits<std::uint16_t>::max();
  if (header.width() > kLongestSide || header.height() > kLongestSide) {
    throw runtime::DataError(
        fmt::format("{} x {} pixels, at most {} a side", header.width(), header.height(), kLongestSide));
  }
  // Decoded, and once more while it is turned upright.
  const auto pixels =
      static_cast<std::uint64_t>(header.stored_width) * static_cast<std::uint64_t>(header.stored_height);
  const bool may_be_laid_over = header.format != data::ImageFormat::kJpeg && packing.alpha() != kDropAlpha;
  const DecodingMemory::Share share(memory, (may_be_laid_over ? 10 : header.orientation == 1 ? 3 : 6) * pixels);
  PixelFacts facts(header);
  const bool too_large = is_too_large(packing, header);
  bool is_laid_over = false;
  data::Image image;  // empty when its rows are upright and needed once
  if (header.format == data::ImageFormat::kJpeg && header.orientation == 1 && !too_large) {
    const data::Box whole{0, 0, header.width(), header.height()};
    data::decode_jpeg_rows(bytes, header, whole, 1, data::ColourDetail::kFull, data::PixelLayout::kRgb, facts.strip(),
                           [&](int, int count, const std::uint8_t* rows, std::size_t) { facts.add(rows, count); });
  } else {
    std::optional<data::Image> over = over_colour(packing, bytes, header);
    is_laid_over = over.has_value();
    image = over ? std::move(*over) : data::decode(bytes);
    facts.add(image);
  }
  if (const auto colour = facts.blank_colour())
    throw runtime::DataError(fmt::format("blank: all pixels are {}", *colour));
  const data::Appearance appearance = facts.appearance();
  picture.set_file_hash(as_text(file_hash.bytes));
  picture.set_pixel_hash(as_text(facts.hash().bytes));
  picture.set_phash(appearance.hash);
  picture.set_thumbnail(as_text(appearance.thumbnail));
  if (too_large || is_laid_over) {
    Restored restored = too_large ? compressed_smaller(packing, image) : as_png(image);
    picture.set_smaller(true);
    picture.set_hash(as_text(runtime::content_hash(restored.bytes).bytes));
    picture.set_stored_size(restored.bytes.size());
    picture.set_width(static_cast<std::uint32_t>(restored.width));
    picture.set_height(static_cast<std::uint32_t>(restored.height));
    picture.set_format(static_cast<std::uint32_t>(restored.format));
    picture.set_orientation(1);
    return restored.bytes;
  }
  picture.set_hash(picture.file_hash());
  picture.set_stored_size(picture.size());
  picture.set_width(static_cast<std::uint32_t>(header.width()));
  picture.set_height(static_cast<std::uint32_t>(header.height()));
  picture.set_format(static_cast<std::uint32_t>(header.format));
  picture.set_orientation(static_cast<std::uint32_t>(header.orientation));
  return {};
}

}  // namespace

std::optional<data::Colour> alpha_colour(const config::Packing& packing) {
  if (packing.alpha() == kDropAlpha) return std::nullopt;
  const std::optional<data::Colour> colour = data::parse_colour(packing.alpha());
  if (!colour) {
    throw runtime::UsageError(
        fmt::format("packing.alpha is \"{}\", expected \"drop\" or a colour like \"#ffffff\"", packing.alpha()));
  }
  return colour;
}

DecodingMemory::Share::Share(DecodingMemory& memory, std::uint64_t bytes)
    : memory_(memory), bytes_(std::min(bytes, memory.limit_)) {
  std::unique_lock lock(memory_.mutex_);
  memory_.freed_.wait(lock, [this] { return memory_.free_ >= bytes_; });
  memory_.free_ -= bytes_;
}

DecodingMemory::Share::~Share() {
  {
    const std::lock_guard lock(memory_.mutex_);
    memory_.free_ += bytes_;
  }
  memory_.freed_.notify_all();
}

std::vector<std::byte> read_picture(const shards::SurveyChunk::Picture& picture) {
  return runtime::InputFile(picture.file()).read_at(picture.offset(), picture.size());
}

std::vector<std::byte> check_picture(const config::Packing& packing, shards::SurveyChunk::Picture& picture,
                                     DecodingMemory& memory) {
  if (!picture.fault().empty()) return {};
  try {
    return check(packing, picture, memory);
  } catch (const runtime::Error& error) {
    picture.set_fault(runtime::messages(error).back());
  } catch (const std::bad_alloc&) {
    picture.set_fault("too large for this machine's memory");
  }
  return {};
}

std::vector<std::byte> stored_bytes(const config::Packing& packing, const shards::SurveyChunk::Picture& picture) {
  const std::vector<std::byte> bytes = read_picture(picture);
  const data::ImageHeader header = data::read_image_header(bytes);
  const std::optional<data::Image> over = over_colour(packing, bytes, header);
  if (is_too_large(packing, header)) return compressed_smaller(packing, over ? *over : data::decode(bytes)).bytes;
  if (!over) throw runtime::DataError(fmt::format("'{}' changed while the corpus was packed", picture.file()));
  return as_png(*over).bytes;
}

}  // namespace cskd::packing
