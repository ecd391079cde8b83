#include "data/jpeg_encoder.h"

#include <memory>

#include <turbojpeg.h>

#include "runtime/check.h"

namespace cskd::data {
namespace {

struct Destroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};

}  // namespace

std::vector<std::byte> encode_jpeg(const Image& image, int quality) {
  const std::unique_ptr<void, Destroy> compressor(tjInitCompress());
  CSKD_CHECK(compressor, "libjpeg-turbo: {}", tjGetErrorStr2(nullptr));
  std::vector<std::byte> jpeg(tjBufSize(image.width, image.height, TJSAMP_420));
  auto* bytes = reinterpret_cast<unsigned char*>(jpeg.data());
  unsigned long size = jpeg.size();
  const int status = tjCompress2(compressor.get(), image.rgb.data(), image.width, 0, image.height, TJPF_RGB, &bytes,
                                 &size, TJSAMP_420, quality, TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC);
  CSKD_CHECK(status == 0, "libjpeg-turbo: {}", tjGetErrorStr2(compressor.get()));
  jpeg.resize(size);
  return jpeg;
}

}  // namespace cskd::data
