// Decodes pictures for pixels_test.py, which compares them with Pillow's. Each line of the standard input is one
// request, its words separated by tabs:
//
//   PATH [region X Y WIDTH HEIGHT] [eighth] [resize FILTER WIDTH HEIGHT X Y BOX_WIDTH BOX_HEIGHT] [flip] [jpeg QUALITY]
//     [hash]
//
// and answered by a line and what it announces: "pixels WIDTH HEIGHT" and the RGB bytes, "hash" and 16 hexadecimal
// digits, or "refused" and a reason.
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "data/decode.h"
#include "data/jpeg_decoder.h"
#include "data/perceptual_hash.h"
#include "data/recompress.h"
#include "data/resize.h"
#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace {

using namespace cskd::data;

// By the resize that views go through, at its own size.
Image mirrored(const Image& image) {
  Image result = image;
  resize(image,
         {.width = image.width,
          .height = image.height,
          .box = {0, 0, static_cast<double>(image.width), static_cast<double>(image.height)},
          .target_width = image.width,
          .target_height = image.height,
          .mirrored = true},
         result.rgb);
  return result;
}

Box read_box(std::istringstream& words) {
  Box box;
  words >> box.x >> box.y >> box.width >> box.height;
  return box;
}

std::string answer(const std::string& request) {
  std::istringstream words(request.substr(request.find('\t') + 1));
  const std::string file = cskd::tests::read_file(request.substr(0, request.find('\t')));
  const std::span<const std::byte> bytes = std::as_bytes(std::span(file));
  std::string word;
  words >> word;
  Image image;
  if (word == "region") {
    image = decode_region(bytes, read_image_header(bytes), read_box(words));
    words >> word;
  } else if (word == "eighth") {
    const ImageHeader header = read_image_header(bytes);
    image = decode_jpeg(bytes, header, {0, 0, (header.stored_width + 7) / 8, (header.stored_height + 7) / 8}, 8,
                        ColourDetail::kHalf);
    words >> word;
  } else {
    image = decode(bytes);
  }
  for (; words; words >> word) {
    if (word == "resize") {
      std::string filter;
      int width = 0;
      int height = 0;
      words >> filter >> width >> height;
      image = resize(image, read_box(words), width, height, filter == "bicubic" ? Filter::kBicubic : Filter::kBilinear);
    } else if (word == "flip") {
      image = mirrored(image);
    } else if (word == "jpeg") {
      int quality = 0;
      words >> quality;
      recompress(image, quality);
    } else if (word == "hash") {
      return fmt::format("hash {:016x}\n", perceptual_hash(image));
    }
  }
  return fmt::format("pixels {} {}\n", image.width, image.height) + std::string(image.rgb.begin(), image.rgb.end());
}

}  // namespace

int main() {
  for (std::string request; std::getline(std::cin, request);) {
    try {
      std::cout << answer(request + "\t");
    } catch (const cskd::runtime::DataError& error) {
      std::cout << "refused " << error.what() << '\n';
    }
    std::cout.flush();
  }
}
