#include "data/recompress.h"

#include <memory>
#include <vector>

#include <turbojpeg.h>

#include "runtime/check.h"

namespace cskd::data {
namespace {

struct Destroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using Handle = std::unique_ptr<void, Destroy>;

constexpr int kFlags = TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC;

}  // namespace

void recompress(Image& image, int quality) {
  const Handle compressor(tjInitCompress());
  const Handle decompressor(tjInitDecompress());
  CSKD_CHECK(compressor && decompressor, "libjpeg-turbo: {}", tjGetErrorStr2(nullptr));
  std::vector<unsigned char> jpeg(tjBufSize(image.width, image.height, TJSAMP_420));
  unsigned char* bytes = jpeg.data();
  unsigned long size = jpeg.size();
  const int pressed = tjCompress2(compressor.get(), image.rgb.data(), image.width, 0, image.height, TJPF_RGB, &bytes,
                                  &size, TJSAMP_420, quality, kFlags);
  CSKD_CHECK(pressed == 0, "libjpeg-turbo: {}", tjGetErrorStr2(compressor.get()));
  const int read =
      tjDecompress2(decompressor.get(), bytes, size, image.rgb.data(), image.width, 0, image.height, TJPF_RGB, kFlags);
  CSKD_CHECK(read == 0, "libjpeg-turbo: {}", tjGetErrorStr2(decompressor.get()));
}

}  // namespace cskd::data
