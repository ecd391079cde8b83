#include "data/image_header.h"

#include <random>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/orientation.h"
#include "runtime/error.h"
#include "tests/data/decode_pictures.h"

namespace cskd::data {
namespace {

using runtime::DataError;
using tests::bytes_of;
using tests::exif_with_orientation;
using tests::scene;
using tests::with_exif;

std::string small_jpeg() { return tests::jpeg(scene(40, 30), {}); }

int orientation_of(const std::string& encoded) { return read_image_header(bytes_of(encoded)).orientation; }

void expect_no_header(const std::string& bytes, const std::string& reason) {
  EXPECT_THAT([&] { read_image_header(bytes_of(bytes)); }, testing::ThrowsMessage<DataError>(reason));
}

// The bytes with the big-endian number at `offset` replaced.
std::string with_number(std::string bytes, std::size_t offset, std::uint32_t number, std::size_t count) {
  std::string digits;
  for (std::size_t i = count; i-- > 0;) digits.push_back(static_cast<char>(number >> (8 * i)));
  return bytes.replace(offset, count, digits);
}

std::size_t frame_header_of(const std::string& jpeg) { return jpeg.find("\xFF\xC0"); }

TEST(ImageHeader, TellsFormatAndSize) {
  for (const auto& [encoded, format] :
       {std::pair(small_jpeg(), ImageFormat::kJpeg),
        std::pair(tests::jpeg(scene(40, 30), {.progressive = true}), ImageFormat::kJpeg),
        std::pair(tests::png(scene(40, 30)), ImageFormat::kPng),
        std::pair(tests::webp(scene(40, 30), true), ImageFormat::kWebp),
        std::pair(tests::webp(scene(40, 30), false), ImageFormat::kWebp)}) {
    const ImageHeader header = read_image_header(bytes_of(encoded));
    EXPECT_EQ(header.format, format);
    EXPECT_EQ(header.stored_width, 40);
    EXPECT_EQ(header.stored_height, 30);
    EXPECT_EQ(header.orientation, 1);
  }
}

TEST(ImageHeader, OrientationsFromFiveTurnTheSides) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const bool little_endian : {false, true}) {
      const ImageHeader header =
          read_image_header(bytes_of(with_exif(small_jpeg(), exif_with_orientation(orientation, little_endian))));
      EXPECT_EQ(header.orientation, orientation);
      EXPECT_EQ(header.stored_width, 40);
      EXPECT_EQ(header.width(), orientation >= 5 ? 30 : 40);
      EXPECT_EQ(header.height(), orientation >= 5 ? 40 : 30);
    }
  }
}

TEST(ImageHeader, FillBytesBetweenSegmentsAreSkipped) {
  std::string encoded = small_jpeg();
  encoded.insert(2, "\xFF\xFF\xFF");
  EXPECT_EQ(read_image_header(bytes_of(encoded)).stored_width, 40);
}

TEST(DamagedExif, UnknownOrientationCountsAsNone) {
  for (const int orientation : {0, 9, 255, 65535}) {
    EXPECT_EQ(orientation_of(with_exif(small_jpeg(), exif_with_orientation(orientation, true))), 1);
  }
}

TEST(DamagedExif, CutAnywhereItCountsAsNone) {
  const std::string exif = exif_with_orientation(6, false);
  const std::size_t needed = exif.size() - 6;  // what follows the two bytes of the value is padding
  for (std::size_t size = 0; size < exif.size(); ++size) {
    EXPECT_EQ(orientation_of(with_exif(small_jpeg(), exif.substr(0, size))), size < needed ? 1 : 6) << size;
  }
}

TEST(DamagedExif, DirectoryBeyondTheSegmentCountsAsNone) {
  for (const std::uint32_t offset : {32U, 1000U, 0x7FFFFFFFU, 0xFFFFFFFFU, 0xFFFFFFF0U}) {
    EXPECT_EQ(orientation_of(with_exif(small_jpeg(), with_number(exif_with_orientation(6, false), 10, offset, 4))), 1);
  }
}

TEST(DamagedExif, MoreEntriesThanBytesAreNotRead) {
  std::string exif = with_number(exif_with_orientation(6, false), 14, 0xFFFF, 2);
  EXPECT_EQ(orientation_of(with_exif(small_jpeg(), exif)), 6);
  exif = with_number(exif, 16, 0x0111, 2);  // no orientation any more
  EXPECT_EQ(orientation_of(with_exif(small_jpeg(), exif)), 1);
}

TEST(DamagedExif, OtherTypesCountsByteOrdersAndMagicsCountAsNone) {
  const std::string exif = exif_with_orientation(6, false);
  EXPECT_EQ(orientation_of(with_exif(small_jpeg(), with_number(exif, 18, 2, 2))), 1);
  EXPECT_EQ(orientation_of(with_exif(small_jpeg(), with_number(exif, 20, 2, 4))), 1);
  EXPECT_EQ(orientation_of(with_exif(small_jpeg(), with_number(exif, 6, 0x4949, 2))), 1);
  EXPECT_EQ(orientation_of(with_exif(small_jpeg(), with_number(exif, 6, 0x4D49, 2))), 1);
  EXPECT_EQ(orientation_of(with_exif(small_jpeg(), with_number(exif, 8, 43, 2))), 1);
}

TEST(DamagedExif, TheFirstUsableOneCounts) {
  const std::string first =
      with_exif(with_exif(small_jpeg(), exif_with_orientation(3, true)), "http://ns.adobe.com/xap");
  EXPECT_EQ(orientation_of(first), 3);
  EXPECT_EQ(orientation_of(with_exif(first, exif_with_orientation(9, true))), 3);
}

TEST(DamagedHeader, Empty) { expect_no_header("", "empty file"); }

TEST(DamagedHeader, Garbage) {
  for (const std::string& bytes : {std::string(1, '\0'), std::string("\xFF\xD8"), std::string("RIFF1234WEBX"),
                                   std::string("RIFF"), std::string("GIF89a"), std::string(5000, 'x')}) {
    expect_no_header(bytes, "not JPEG, PNG or WebP");
  }
}

TEST(DamagedHeader, JpegCutBeforeItsFirstScan) {
  const std::string encoded = small_jpeg();
  const std::size_t scan = encoded.find("\xFF\xDA");
  for (std::size_t size = 3; size < scan + 2; ++size) expect_no_header(encoded.substr(0, size), "truncated header");
  EXPECT_EQ(read_image_header(bytes_of(encoded.substr(0, scan + 2))).stored_width, 40);
}

TEST(DamagedHeader, JpegWithoutFrame) {
  expect_no_header(std::string("\xFF\xD8\xFF\xDA", 4), "JPEG without a frame header");
  expect_no_header(std::string("\xFF\xD8\xFF\xD9", 4), "damaged JPEG header");
}

TEST(DamagedHeader, JpegWithTwoFrames) {
  std::string encoded = small_jpeg();
  const std::size_t frame = frame_header_of(encoded);
  encoded.insert(frame, encoded.substr(frame, 19));
  expect_no_header(encoded, "damaged JPEG header");
}

std::string number_text(std::size_t number, bool little_endian) {
  std::string text(4, '\0');
  for (std::size_t i = 0; i < 4; ++i) text[little_endian ? i : 3 - i] = static_cast<char>(number >> (8 * i));
  return text;
}

// With every kind of metadata that is looked at, and none that says anything, so that all of it is read.
std::string png_with_metadata() {
  const auto chunk = [](const std::string& type, const std::string& content) {
    return number_text(content.size(), false) + type + content + "crc.";
  };
  const std::string packed("\x78\x9c\x4b\x4c\x4a\x06\x00\x02\x4d\x01\x27", 11);  // zlib's "abc"
  const std::string zero(1, '\0');
  return "\x89PNG\r\n\x1A\n" + chunk("eXIf", exif_with_orientation(9, true).substr(6)) +
         chunk("tEXt", "Raw profile type exif" + zero + "\nexif\n  4\n45786966") +
         chunk("zTXt", "Raw profile type exif" + zero + zero + packed) +
         chunk("iTXt", "XML:com.adobe.xmp" + zero + zero + zero + "en" + zero + zero + "tiff:Orientation=\"9\"") +
         chunk("iTXt", "XML:com.adobe.xmp" + zero + "\x01" + zero + zero + zero + packed);
}

std::string webp_with_metadata() {
  const auto chunk = [](const std::string& type, const std::string& content) {
    return type + number_text(content.size(), true) + content + std::string(content.size() % 2, '\0');
  };
  return "RIFF....WEBP" + chunk("EXIF", exif_with_orientation(9, false)) +
         chunk("XMP ", "<tiff:Orientation>0</tiff:Orientation>");
}

TEST(DamagedMetadata, IsNoReasonToReadElsewhere) {
  std::mt19937 random(3);
  for (const std::string& whole : {png_with_metadata(), webp_with_metadata()}) {
    const bool is_png = whole.starts_with("\x89PNG");
    const auto orientation = [&](const std::string& bytes) {
      const std::vector<char> exact(bytes.begin(), bytes.end());  // what lies behind it is none of its memory
      const auto span = std::as_bytes(std::span(exact));
      return is_png ? png_orientation(span) : webp_orientation(span);
    };
    EXPECT_EQ(orientation(whole), 0);
    for (std::size_t size = 12; size < whole.size(); ++size) EXPECT_EQ(orientation(whole.substr(0, size)), 0);
    for (int i = 0; i < 5000; ++i) {
      std::string damaged = whole;
      for (int k = 0; k < 3; ++k)
        damaged[12 + random() % (damaged.size() - 12)] = static_cast<char>(random() % 4 == 0 ? 0xFF : random() % 256);
      const int found = orientation(damaged);
      EXPECT_TRUE(found >= 0 && found <= 8) << found;
    }
  }
}

TEST(DamagedHeader, JpegWithAWrongSegmentLength) {
  const std::string encoded = small_jpeg();
  expect_no_header(with_number(encoded, 4, 0, 2), "damaged JPEG header");
  expect_no_header(with_number(encoded, 4, 1, 2), "damaged JPEG header");
  // Looks like a stray byte: the decoder finds what is lost with it.
  EXPECT_EQ(orientation_of(with_number(encoded, 4, 17, 2)), 1);
  expect_no_header(with_number(encoded, 4, 0xFFFF, 2), "truncated header");
  expect_no_header(with_number(encoded, frame_header_of(encoded) + 2, 7, 2), "damaged JPEG header");
}

TEST(DamagedHeader, PngCutOrWithoutItsFirstChunk) {
  const std::string encoded = tests::png(scene(40, 30));
  for (std::size_t size = 8; size < 33; ++size) expect_no_header(encoded.substr(0, size), "truncated header");
  expect_no_header(with_number(encoded, 11, 12, 1), "damaged PNG header");
  expect_no_header(with_number(encoded, 12, 'J', 1), "damaged PNG header");
}

TEST(DamagedHeader, WebpCutOrBroken) {
  for (const bool lossless : {false, true}) {
    const std::string encoded = tests::webp(scene(40, 30), lossless);
    for (std::size_t size = 12; size < 25; ++size) expect_no_header(encoded.substr(0, size), "truncated header");
    expect_no_header(with_number(encoded, lossless ? 20 : 23, 0, 1), "damaged WebP header");
  }
}

TEST(DamagedHeader, AnimatedWebp) {
  const std::string extended = std::string("RIFF\x16\0\0\0WEBPVP8X\x0A\0\0\0\x02\0\0\0\x27\0\0\x1D\0\0", 30);
  expect_no_header(extended, "animated WebP");
}

TEST(HugeHeader, IsRefusedWithItsSize) {
  const std::string jpeg = with_number(with_number(small_jpeg(), frame_header_of(small_jpeg()) + 5, 60000, 2),
                                       frame_header_of(small_jpeg()) + 7, 60001, 2);
  expect_no_header(jpeg, "60001 x 60000 pixels, at most 100 million are decoded");
  const std::string png = tests::png(scene(40, 30));
  expect_no_header(with_number(with_number(png, 16, 0xFFFFFFFF, 4), 20, 0xFFFFFFFF, 4),
                   "4294967295 x 4294967295 pixels, at most 100 million are decoded");
  expect_no_header(with_number(with_number(png, 16, 100'000'001, 4), 20, 1, 4),
                   "100000001 x 1 pixels, at most 100 million are decoded");
  EXPECT_EQ(read_image_header(bytes_of(with_number(with_number(png, 16, 100'000'000, 4), 20, 1, 4))).stored_width,
            100'000'000);
  // 16384 x 16384 as a lossless WebP writes it: 14 bits of width - 1, 14 of height - 1.
  const std::string webp = tests::webp(scene(40, 30), true);
  expect_no_header(with_number(webp, 21, 0xFFFFFF0F, 4), "16384 x 16384 pixels, at most 100 million are decoded");
}

TEST(HugeHeader, NoPixelsAreRefused) {
  const std::string jpeg = small_jpeg();
  expect_no_header(with_number(jpeg, frame_header_of(jpeg) + 5, 0, 2), "40 x 0 pixels");
  expect_no_header(with_number(tests::png(scene(40, 30)), 16, 0, 4), "0 x 30 pixels");
}

}  // namespace
}  // namespace cskd::data
