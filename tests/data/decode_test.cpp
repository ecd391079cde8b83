#include "data/decode.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "runtime/philox.h"
#include "tests/data/decode_pictures.h"

namespace cskd::data {
namespace {

using runtime::DataError;
using testing::HasSubstr;
using tests::bytes_of;
using tests::scene;

void expect_refused(const std::string& bytes, const std::string& reason) {
  EXPECT_THAT([&] { decode(bytes_of(bytes)); }, testing::ThrowsMessage<DataError>(HasSubstr(reason)));
}

double mean_difference(const Image& a, const Image& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.rgb.size(); ++i) sum += std::abs(a.rgb[i] - b.rgb[i]);
  return sum / static_cast<double>(a.rgb.size());
}

TEST(Decode, LosslessFormatsGiveBackThePixels) {
  const Image image = scene(53, 37);
  EXPECT_EQ(decode(bytes_of(tests::png(image))).rgb, image.rgb);
  EXPECT_EQ(decode(bytes_of(tests::webp(image, true))).rgb, image.rgb);
}

TEST(Decode, LossyFormatsGiveAboutThePixels) {
  // Without noise and edges, so that what is lost is little.
  Image image = scene(64, 48);
  for (int y = 0; y < 48; ++y) {
    for (int x = 0; x < 192; ++x) image.row(y)[x] = static_cast<std::uint8_t>(x + 60 * (x % 3));
  }
  EXPECT_LT(mean_difference(decode(bytes_of(tests::webp(image, false))), image), 3);
  EXPECT_LT(mean_difference(decode(bytes_of(tests::jpeg(image, {}))), image), 3);
  EXPECT_LT(mean_difference(decode(bytes_of(tests::jpeg(image, {.progressive = true}))), image), 3);
}

// The pixel that is first in the file is seen at the place that EXIF 2.3 names for the orientation.
TEST(Decode, OrientationPutsTheFirstStoredPixelWhereExifSays) {
  Image image = tests::blank(32, 16, 0);
  for (int y = 0; y < 8; ++y) std::fill_n(image.row(y), 8 * 3, std::uint8_t{255});
  // (right, bottom), and whether the sides are exchanged
  const int places[8][3] = {{0, 0, 0}, {1, 0, 0}, {1, 1, 0}, {0, 1, 0}, {0, 0, 1}, {1, 0, 1}, {1, 1, 1}, {0, 1, 1}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const auto& [right, bottom, turned] = places[orientation - 1];
    const Image upright =
        decode(bytes_of(tests::jpeg(image, {.horizontal = 1, .vertical = 1, .orientation = orientation})));
    ASSERT_EQ(upright.width, turned != 0 ? 16 : 32);
    ASSERT_EQ(upright.height, turned != 0 ? 32 : 16);
    const int x = right != 0 ? upright.width - 1 : 0;
    const int y = bottom != 0 ? upright.height - 1 : 0;
    EXPECT_GT(*tests::pixel(upright, x, y), 250) << orientation;
    EXPECT_LT(*tests::pixel(upright, upright.width - 1 - x, upright.height - 1 - y), 5) << orientation;
  }
}

TEST(Damage, EmptyFile) { expect_refused("", "empty file"); }

TEST(Damage, Garbage) {
  std::string bytes(2000, '\0');
  runtime::Philox random(1, 0, 0);
  for (char& byte : bytes) byte = static_cast<char>(random());
  expect_refused(bytes, "not JPEG, PNG or WebP");
  expect_refused("\xFF\xD8\xFF" + bytes, "header");
  expect_refused("\x89PNG\r\n\x1A\n" + bytes, "damaged PNG header");
  expect_refused("RIFF1234WEBP" + bytes, "damaged WebP header");
}

TEST(Damage, JpegCutAnywhere) {
  for (const bool progressive : {false, true}) {
    const std::string encoded = tests::jpeg(scene(80, 60), {.progressive = progressive});
    const std::size_t scan = encoded.find("\xFF\xDA") + 2;
    for (std::size_t size = 0; size < encoded.size(); ++size) {
      EXPECT_THROW(decode(bytes_of(encoded.substr(0, size))), DataError) << size;
    }
    expect_refused(encoded.substr(0, scan + 100), "damaged JPEG: ");
    expect_refused(encoded.substr(0, encoded.size() - 2), "damaged JPEG: Premature end of JPEG file");
  }
}

TEST(Damage, JpegWithoutItsLastRows) {
  const std::string encoded = tests::jpeg(scene(80, 60), {});
  expect_refused(encoded.substr(0, encoded.size() / 2) + "\xFF\xD9",
                 "Corrupt JPEG data: premature end of data segment");
}

// As every viewer shows it: all of its pixels are there (pixels_test.py has more such files).
TEST(Decode, JpegWithBytesBetweenSegmentsIsWhole) {
  const std::string whole = tests::jpeg(scene(80, 60), {});
  std::string encoded = whole;
  encoded.insert(encoded.size() - 2, std::string(50, 'x'));
  EXPECT_EQ(decode(bytes_of(encoded)).rgb, decode(bytes_of(whole)).rgb);
}

TEST(Damage, JpegWithALostRestartMarker) {
  std::string encoded = tests::jpeg(scene(80, 60), {.restart_interval = 2});
  const std::size_t marker = encoded.find("\xFF\xD1");
  ASSERT_NE(marker, std::string::npos);
  encoded.erase(marker, 2);
  expect_refused(encoded, "damaged JPEG: ");
}

TEST(Damage, JpegOfMoreScansThanAnyEncoderWrites) {
  const std::string encoded = tests::jpeg(scene(80, 60), {.scan_for_each = true});
  const std::string last_scan =
      encoded.substr(encoded.rfind("\xFF\xDA"), encoded.size() - 2 - encoded.rfind("\xFF\xDA"));
  const auto with_scans = [&](int more) {
    std::string many = encoded.substr(0, encoded.size() - 2);
    for (int i = 0; i < more; ++i) many += last_scan;
    return many + "\xFF\xD9";
  };
  EXPECT_EQ(decode(bytes_of(with_scans(197))).rgb, decode(bytes_of(encoded)).rgb);
  expect_refused(with_scans(198), "damaged JPEG: more than 200 scans");
}

TEST(Damage, JpegWithADamagedTable) {
  std::string encoded = tests::jpeg(scene(80, 60), {});
  const std::size_t table = encoded.find("\xFF\xC4");
  for (std::size_t i = 5; i < 21; ++i) encoded[table + i] = '\x7F';
  expect_refused(encoded, "damaged JPEG: Bogus Huffman table definition");
}

TEST(Damage, ARegionAboveTheDamageCanBeDecoded) {
  const std::string encoded = tests::jpeg(scene(80, 160), {});
  const std::string cut = encoded.substr(0, encoded.size() / 2);
  const ImageHeader header = read_image_header(bytes_of(cut));
  EXPECT_EQ(decode_region(bytes_of(cut), header, {0, 0, 80, 40}).rgb,
            decode_region(bytes_of(encoded), header, {0, 0, 80, 40}).rgb);
  EXPECT_THROW(decode_region(bytes_of(cut), header, {0, 120, 80, 40}), DataError);
}

TEST(Damage, AnotherPictureThanTheHeadersIsRefused) {
  const ImageHeader header = read_image_header(bytes_of(tests::jpeg(scene(80, 60), {})));
  ImageHeader png_header = header;
  png_header.format = ImageFormat::kPng;
  ImageHeader webp_header = header;
  webp_header.format = ImageFormat::kWebp;
  for (const auto& [width, height] : {std::pair(79, 60), std::pair(80, 61), std::pair(81, 60), std::pair(30, 160)}) {
    const Image other = scene(width, height);
    EXPECT_THROW(decode_region(bytes_of(tests::jpeg(other, {})), header, {0, 0, 80, 60}), DataError);
    EXPECT_THROW(decode_region(bytes_of(tests::png(other)), png_header, {0, 0, 80, 60}), DataError);
    EXPECT_THROW(decode_region(bytes_of(tests::webp(other, true)), webp_header, {0, 0, 80, 60}), DataError);
    EXPECT_THROW(decode_region(bytes_of(tests::webp(other, false)), webp_header, {0, 0, 80, 60}), DataError);
  }
}

TEST(Damage, PngCutAnywhere) {
  const std::string encoded = tests::png(scene(40, 30));
  // All but the checksum of the empty last chunk is needed.
  for (std::size_t size = 0; size < encoded.size() - 4; ++size) {
    EXPECT_THROW(decode(bytes_of(encoded.substr(0, size))), DataError) << size << " of " << encoded.size();
  }
}

TEST(Damage, PngWithAWrongByteAnywhere) {
  const std::string encoded = tests::png(scene(12, 10));
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    std::string damaged = encoded;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    EXPECT_THROW(decode(bytes_of(damaged)), DataError) << i << " of " << encoded.size();
  }
}

TEST(Damage, WebpCutAnywhere) {
  for (const bool lossless : {false, true}) {
    const std::string encoded = tests::webp(scene(40, 30), lossless);
    for (std::size_t size = 0; size < encoded.size() - 2; ++size) {
      EXPECT_THROW(decode(bytes_of(encoded.substr(0, size))), DataError) << size << " of " << encoded.size();
    }
  }
}

// Damage of every kind ends in pixels or in DataError; a sanitizer build sees reads outside the bytes.
TEST(Damage, MutationsEndInPixelsOrDataError) {
  const Image image = scene(60, 44);
  const std::vector<std::string> originals = {
      tests::jpeg(image, {.orientation = 6}),
      tests::jpeg(image, {.horizontal = 1, .vertical = 1, .progressive = true}),
      tests::jpeg(image, {.components = 4, .restart_interval = 3, .orientation = 3}),
      tests::jpeg(image, {.components = 1, .horizontal = 1, .vertical = 1, .arithmetic = true}),
      tests::png(image),
      tests::webp(image, true),
      tests::webp(image, false)};
  runtime::Philox random(7, 0, 0);
  int decoded = 0;
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = originals[i % originals.size()];
    const auto place = [&] {  // half of the time in the first 700 bytes, where headers and tables are
      const auto size = static_cast<std::uint32_t>(bytes.size());
      return std::size_t{random.below(random.below(2) == 0 ? size : std::min(size, 700U))};
    };
    for (std::uint32_t changes = 1 + random.below(4); changes > 0 && !bytes.empty(); --changes) {
      switch (random.below(6)) {
        case 0:
          bytes[place()] = static_cast<char>(random());
          break;
        case 1:
          bytes[place()] ^= static_cast<char>(1U << random.below(8));
          break;
        case 2:
          bytes[place()] = random.below(2) == 0 ? '\xFF' : '\0';
          break;
        case 3:
          bytes.erase(place(), 1 + random.below(20));
          break;
        case 4: {
          const std::string piece = bytes.substr(place(), 1 + random.below(40));
          bytes.insert(place(), piece);
          break;
        }
        default:
          if (random.below(4) == 0) bytes.resize(place());
      }
    }
    try {
      const ImageHeader header = read_image_header(bytes_of(bytes));
      const Image whole = decode(bytes_of(bytes));
      ASSERT_EQ(whole.rgb.size(), std::size_t{3} * header.width() * header.height()) << i;
      const Box box{header.width() / 3, header.height() / 3, 1 + header.width() / 4, 1 + header.height() / 4};
      ASSERT_EQ(decode_region(bytes_of(bytes), header, box).width, box.width) << i;
      ++decoded;
    } catch (const DataError&) {
      ++refused;
    }
  }
  // Both ways out are taken, or the mutations are too weak or too strong.
  EXPECT_GT(decoded, 200);
  EXPECT_GT(refused, 2000);
}

}  // namespace
}  // namespace cskd::data
