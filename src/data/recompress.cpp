#include "data/recompress.h"

#include <cstddef>
#include <memory>
#include <vector>

#include <turbojpeg.h>

#include "data/jpeg_encoder.h"
#include "runtime/check.h"

namespace cskd::data {
namespace {

struct Destroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};

}  // namespace

void recompress(Image& image, int quality) {
  const std::vector<std::byte> jpeg = encode_jpeg(image, quality);
  const std::unique_ptr<void, Destroy> decompressor(tjInitDecompress());
  CSKD_CHECK(decompressor, "libjpeg-turbo: {}", tjGetErrorStr2(nullptr));
  const int read =
      tjDecompress2(decompressor.get(), reinterpret_cast<const unsigned char*>(jpeg.data()), jpeg.size(),
                    image.rgb.data(), image.width, 0, image.height, TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC);
  CSKD_CHECK(read == 0, "libjpeg-turbo: {}", tjGetErrorStr2(decompressor.get()));
}

}  // namespace cskd::data
