#include "packing/list_line.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cskd::packing {
namespace {

using Json = nlohmann::ordered_json;

std::string in_hex(std::string_view bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return hex;
}

bool is_utf8(std::string_view text) {
  try {
    static_cast<void>(Json(text).dump());
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

}  // namespace

std::string list_line(std::string_view source, std::string_view key, std::string_view what, std::string_view reason) {
  Json object{{"source", source}, {"key", key}};
  if (!is_utf8(key)) object["key_hex"] = in_hex(key);
  object["what"] = what;
  object["reason"] = reason;
  return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace cskd::packing
