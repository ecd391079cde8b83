#include "scoring/sidecar.h"

#include <cerrno>
#include <memory>
#include <type_traits>

#include <exempi/xmp.h>
#include <exempi/xmpconsts.h>
#include <fmt/format.h>
#include <unistd.h>

#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::scoring {
namespace {

constexpr const char* kOurs = "urn:cskd:ratings:1.0/";
constexpr const char* kRating = "Rating";
constexpr const char* kScore = "Score";
constexpr std::uint64_t kLargest = 64 << 20;

struct Free {
  void operator()(XmpPtr xmp) const { xmp_free(xmp); }
  void operator()(XmpStringPtr text) const { xmp_string_free(text); }
};
using Document = std::unique_ptr<std::remove_pointer_t<XmpPtr>, Free>;
using Text = std::unique_ptr<std::remove_pointer_t<XmpStringPtr>, Free>;

void start_library() {
  static const bool is_started = [] {
    if (!xmp_init() || !xmp_register_namespace(kOurs, "cskd", nullptr))
      throw runtime::Error("the XMP library does not start");
    return true;
  }();
  static_cast<void>(is_started);
}

Document read(const std::filesystem::path& sidecar) {
  start_library();
  const std::string text = runtime::read_text_file(sidecar, kLargest);
  Document document(xmp_new_empty());
  if (!document || !xmp_parse(document.get(), text.data(), text.size()))
    throw runtime::DataError(fmt::format("{} is no XMP (error {} of the library)", sidecar.native(), xmp_get_error()));
  return document;
}

std::optional<int> number_of(const Document& document, const char* space, const char* name) {
  std::int32_t value = 0;
  if (xmp_get_property_int32(document.get(), space, name, &value, nullptr)) return value;
  // Some programs write "3.0".
  double real = 0;
  if (xmp_get_property_float(document.get(), space, name, &real, nullptr)) return static_cast<int>(real);
  return std::nullopt;
}

}  // namespace

std::filesystem::path sidecar_of(const std::filesystem::path& photo, SidecarName name) {
  std::filesystem::path whole = photo;
  whole += ".xmp";
  std::filesystem::path stem = photo;
  stem.replace_extension(".xmp");
  const bool has_whole = std::filesystem::exists(whole);
  const bool has_stem = std::filesystem::exists(stem);
  if (has_whole != has_stem) return has_whole ? whole : stem;
  return name == SidecarName::kWhole ? whole : stem;
}

std::optional<Rating> read_rating(const std::filesystem::path& sidecar) {
  if (!std::filesystem::exists(sidecar)) return std::nullopt;
  const Document document = read(sidecar);
  const std::optional<int> stars = number_of(document, NS_XAP, kRating);
  if (!stars) return std::nullopt;
  return Rating{.stars = *stars, .is_ours = number_of(document, kOurs, kRating) == stars};
}

void write_rating(const std::filesystem::path& sidecar, int stars, double score) {
  start_library();
  const bool is_there = std::filesystem::exists(sidecar);
  // An atomic replacement would go around the permissions of the file itself, and nothing is read-only for root.
  if (is_there) {
    constexpr auto kWritable = std::filesystem::perms::owner_write | std::filesystem::perms::group_write |
                               std::filesystem::perms::others_write;
    const auto permissions = std::filesystem::status(sidecar).permissions();
    const bool is_protected = (permissions & kWritable) == std::filesystem::perms::none;
    if (is_protected || ::access(sidecar.c_str(), W_OK) != 0)
      runtime::throw_system_error(fmt::format("cannot write {}", sidecar.native()), is_protected ? EACCES : errno);
  }
  const Document document = is_there ? read(sidecar) : Document(xmp_new_empty());
  const bool is_set = xmp_set_property_int32(document.get(), NS_XAP, kRating, stars, 0) &&
                      xmp_set_property_int32(document.get(), kOurs, kRating, stars, 0) &&
                      xmp_set_property(document.get(), kOurs, kScore, fmt::format("{:.3f}", score).c_str(), 0);
  const Text text(xmp_string_new());
  if (!is_set || !xmp_serialize_and_format(document.get(), text.get(), XMP_SERIAL_OMITPACKETWRAPPER, 0, "\n", " ", 0)) {
    throw runtime::Error(fmt::format("the rating of {} cannot be written (error {} of the XMP library)",
                                     sidecar.native(), xmp_get_error()));
  }
  runtime::write_file_atomically(sidecar, xmp_string_cstr(text.get()));
}

}  // namespace cskd::scoring
