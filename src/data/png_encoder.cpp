#include "data/png_encoder.h"

#include <cstdlib>
#include <memory>
#include <new>

#include <fmt/format.h>
#include <spng.h>

#include "runtime/error.h"

namespace cskd::data {
namespace {

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

}  // namespace

std::string encode_png(const Image& image) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> context(spng_ctx_new(SPNG_CTX_ENCODER), spng_ctx_free);
  if (!context) throw std::bad_alloc();
  spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header{.width = static_cast<std::uint32_t>(image.width),
                   .height = static_cast<std::uint32_t>(image.height),
                   .bit_depth = 8,
                   .color_type = SPNG_COLOR_TYPE_TRUECOLOR};
  spng_set_ihdr(context.get(), &header);
  int status = spng_encode_image(context.get(), image.rgb.data(), image.rgb.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  std::size_t size = 0;
  const std::unique_ptr<char, FreeDeleter> bytes(
      status == 0 ? static_cast<char*>(spng_get_png_buffer(context.get(), &size, &status)) : nullptr);
  if (!bytes) throw runtime::Error(fmt::format("libspng cannot encode a picture: {}", spng_strerror(status)));
  return {bytes.get(), size};
}

}  // namespace cskd::data
