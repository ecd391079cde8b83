#include "models/plugin/json_reader.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

#include "models/safetensors_header.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 64;
constexpr std::int64_t kLargestTensor = std::int64_t{1} << 40U;  // numbers

// Numbers of torch/_export/serde/schema.py: ScalarType, MemoryFormat.
constexpr std::array kTypes{std::pair{1, at::kByte},     std::pair{2, at::kChar},   std::pair{3, at::kShort},
                            std::pair{4, at::kInt},      std::pair{5, at::kLong},   std::pair{6, at::kHalf},
                            std::pair{7, at::kFloat},    std::pair{8, at::kDouble}, std::pair{12, at::kBool},
                            std::pair{13, at::kBFloat16}};

}  // namespace

Json JsonReader::parse(std::string_view text) const {
  // The parser is not recursive, but what comes after it is.
  const auto shallow = [this](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepest) fail(fmt::format("its JSON is nested more than {} levels deep", kDeepest));
    return true;
  };
  try {
    return Json::parse(text, shallow);
  } catch (const Json::exception&) {
    fail("it is no JSON");
  }
}

void JsonReader::fail(const std::string& reason) const {
  throw runtime::DataError(fmt::format("{}: {}", subject_, reason));
}

const Json& JsonReader::object(const Json& value) const {
  if (!value.is_object()) fail(fmt::format("an object is missing where there is {}", value.type_name()));
  return value;
}

const Json& JsonReader::field(const Json& object, const char* name) const {
  const auto found = this->object(object).find(name);
  if (found == object.end()) fail(fmt::format("'{}' is missing", name));
  return *found;
}

const Json& JsonReader::list(const Json& value) const {
  if (!value.is_array()) fail(fmt::format("a list is missing where there is {}", value.type_name()));
  return value;
}

std::string JsonReader::text(const Json& value) const {
  if (!value.is_string()) fail(fmt::format("a text is missing where there is {}", value.type_name()));
  return value.get<std::string>();
}

std::int64_t JsonReader::whole(const Json& value) const {
  if (!value.is_number_integer() ||
      (value.is_number_unsigned() &&
       value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))) {
    fail(fmt::format("a whole number is missing where there is {}", value.type_name()));
  }
  return value.get<std::int64_t>();
}

double JsonReader::real(const Json& value) const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (value.is_number()) return value.get<double>();
  if (value == "Infinity") return kInfinity;
  if (value == "-Infinity") return -kInfinity;
  fail(fmt::format("a number is missing where there is {}", value.type_name()));
}

bool JsonReader::truth(const Json& value) const {
  if (!value.is_boolean()) fail(fmt::format("a truth value is missing where there is {}", value.type_name()));
  return value.get<bool>();
}

std::pair<std::string, const Json&> JsonReader::kind(const Json& object) const {
  if (!object.is_object() || object.size() != 1) fail("an object with one key is missing");
  return {object.begin().key(), object.begin().value()};
}

at::ScalarType JsonReader::type(const Json& value) const {
  const std::int64_t number = whole(value);
  const auto* const found = std::ranges::find(kTypes, number, [](const auto& pair) { return pair.first; });
  if (found == kTypes.end()) fail(fmt::format("a tensor has type {} of torch.export, which is not read", number));
  return found->second;
}

std::int64_t JsonReader::whole_of(const Json& size) const {
  const auto [what, number] = kind(size);
  if (what != "as_int") fail("a size is not fixed, where only the batch may have any");
  return whole(number);
}

std::vector<std::int64_t> JsonReader::shape(const Json& sizes, std::size_t from) const {
  std::vector<std::int64_t> result;
  std::int64_t product = 1;
  for (std::size_t i = from; i < list(sizes).size(); ++i) {
    result.push_back(whole_of(sizes[i]));
    if (result.back() < 0 || __builtin_mul_overflow(product, std::max<std::int64_t>(result.back(), 1), &product) ||
        product > kLargestTensor)
      fail("a tensor's shape is negative or too large");
  }
  if (result.size() > kLargestRank) fail(fmt::format("a tensor has more than {} dimensions", kLargestRank));
  return result;
}

}  // namespace cskd::models
