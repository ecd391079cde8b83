#include "models/safetensors_header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cskd::models {
namespace {

struct NamedType {
  std::string_view name;
  at::ScalarType type;
  std::int64_t bytes;
};
constexpr std::array kTypes{NamedType{"F64", at::kDouble, 8}, NamedType{"F32", at::kFloat, 4},
                            NamedType{"F16", at::kHalf, 2},   NamedType{"BF16", at::kBFloat16, 2},
                            NamedType{"I64", at::kLong, 8},   NamedType{"I32", at::kInt, 4},
                            NamedType{"I16", at::kShort, 2},  NamedType{"I8", at::kChar, 1},
                            NamedType{"U8", at::kByte, 1},    NamedType{"BOOL", at::kBool, 1}};

std::int64_t bytes_of(at::ScalarType type) { return std::ranges::find(kTypes, type, &NamedType::type)->bytes; }

bool is_utf8(std::string_view text) {
  constexpr std::array<std::uint32_t, 5> kSmallestOfLength{0, 0, 0x80, 0x800, 0x10000};
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const int ones = std::countl_one(lead);
    if (ones == 1 || ones > 4) return false;
    const std::size_t length = ones == 0 ? 1 : static_cast<std::size_t>(ones);
    if (length > text.size() - i) return false;
    std::uint32_t code = length == 1 ? lead : lead & (0x7FU >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0U) != 0x80U) return false;
      code = code << 6 | (next & 0x3FU);
    }
    const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    if (code < kSmallestOfLength[length] || surrogate || code > 0x10FFFF) return false;
    i += length;
  }
  return true;
}

// Receives the JSON one token at a time: nothing is built of what does not belong, however deep or often it comes.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  SafetensorsHeader take() { return std::move(header_); }

  [[noreturn]] void fail(const std::string& reason) const { throw invalid_file(file_, reason); }

  bool null() override { unexpected("null"); }
  bool boolean(bool /*value*/) override { unexpected("a truth value"); }
  bool binary(binary_t& /*value*/) override { unexpected("binary data"); }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override {
    unexpected("a number that is not a whole number below 2^64");
  }
  // The parser calls this only for numbers with a minus sign.
  bool number_integer(number_integer_t value) override { unexpected(fmt::format("the negative number {}", value)); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
        fail(fmt::format("tensor {} has a dimension of {}", shown(name_), value));
      }
      if (shape_->size() == kLargestRank) {
        fail(fmt::format("tensor {} has more than {} dimensions", shown(name_), kLargestRank));
      }
      shape_->push_back(static_cast<std::int64_t>(value));
    } else if (place_ == Place::kOffsets) {
      if (offsets_->size() == 2) fail_offsets();
      offsets_->push_back(value);
    } else {
      unexpected(fmt::format("the number {}", value));
    }
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      header_.metadata[field_] = std::move(value);
    } else if (place_ == Place::kTensor && field_ == "dtype") {
      type_ = type_of_name(value);
      if (!type_) {
        fail(fmt::format("tensor {} has the type {}, which cskd does not read; it reads {}", shown(name_), shown(value),
                         readable_types()));
      }
    } else {
      unexpected(fmt::format("the string {}", shown(value)));
    }
    return true;
  }

  bool start_object(std::size_t /*size*/) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kRoot;
    } else if (place_ == Place::kRoot && name_ == kMetadataKey) {
      place_ = Place::kMetadata;
    } else if (place_ == Place::kRoot) {
      place_ = Place::kTensor;
      type_.reset();
      shape_.reset();
      offsets_.reset();
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(string_t& value) override {
    bool twice = false;
    if (place_ == Place::kRoot) {
      twice = value == kMetadataKey ? std::exchange(metadata_seen_, true) : header_.tensors.contains(value);
      name_ = value;
    } else if (place_ == Place::kMetadata) {
      twice = !header_.metadata.try_emplace(value).second;
      field_ = value;
    } else {
      if (value == "dtype") {
        twice = type_.has_value();
      } else if (value == "shape") {
        twice = shape_.has_value();
      } else if (value == "data_offsets") {
        twice = offsets_.has_value();
      } else {
        fail(fmt::format("tensor {} has the unknown field {}", shown(name_), shown(value)));
      }
      field_ = value;
    }
    if (twice) {
      const std::string inside = place_ == Place::kRoot ? "" : fmt::format(" of {}", shown(name_));
      fail(fmt::format("the key {}{} occurs twice", shown(value), inside));
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kRoot) {
      place_ = Place::kOutside;
      return true;
    }
    if (place_ == Place::kTensor) add_tensor();
    place_ = Place::kRoot;
    return true;
  }

  bool start_array(std::size_t /*size*/) override {
    if (place_ == Place::kTensor && field_ == "shape") {
      place_ = Place::kShape;
      shape_.emplace();
    } else if (place_ == Place::kTensor && field_ == "data_offsets") {
      place_ = Place::kOffsets;
      offsets_.emplace();
    } else {
      unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offsets_->size() != 2) fail_offsets();
    place_ = Place::kTensor;
    return true;
  }

  // The parser's own text is left out: it quotes the header without limit.
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    fail(fmt::format("its header is not JSON near byte {}", position));
  }

 private:
  enum class Place : std::uint8_t { kOutside, kRoot, kMetadata, kTensor, kShape, kOffsets };

  static std::string readable_types() {
    std::string names;
    for (const NamedType& known : kTypes) names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
    return names;
  }

  [[noreturn]] void unexpected(const std::string& what) const {
    switch (place_) {
      case Place::kOutside:
        fail(fmt::format("its header holds {} where an object belongs", what));
      case Place::kRoot:
        fail(fmt::format("the key {} holds {} where an object belongs", shown(name_), what));
      case Place::kMetadata:
        fail(fmt::format("the metadata {} holds {} where a string belongs", shown(field_), what));
      case Place::kTensor:
        fail(fmt::format("the {} of tensor {} holds {} where {} belongs", field_, shown(name_), what,
                         field_ == "dtype" ? "a string" : "an array"));
      case Place::kShape:
        fail(fmt::format("the shape of tensor {} holds {}", shown(name_), what));
      case Place::kOffsets:
        break;
    }
    fail(fmt::format("the data_offsets of tensor {} hold {}", shown(name_), what));
  }

  [[noreturn]] void fail_offsets() const {
    fail(fmt::format("the data_offsets of tensor {} are not two numbers", shown(name_)));
  }

  void add_tensor() {
    if (!type_ || !shape_ || !offsets_) {
      fail(fmt::format("tensor {} lacks its {}", shown(name_), !type_ ? "dtype" : !shape_ ? "shape" : "data_offsets"));
    }
    const std::uint64_t begin = offsets_->at(0);
    const std::uint64_t end = offsets_->at(1);
    if (begin > end) fail(fmt::format("tensor {} ends at byte {} before its start at {}", shown(name_), end, begin));
    const std::uint64_t expected = bytes_of_shape();
    if (end - begin != expected) {
      fail(fmt::format("tensor {} has {} bytes where its {} [{}] needs {}", shown(name_), end - begin,
                       name_of_type(*type_), fmt::join(*shape_, ", "), expected));
    }
    header_.tensors.emplace(name_, TensorInfo{*type_, std::move(*shape_), begin, end});
  }

  // Zeros count as ones in the check, because strides are products of the other dimensions.
  std::uint64_t bytes_of_shape() const {
    std::int64_t bytes = bytes_of(*type_);
    bool empty = false;
    for (const std::int64_t dimension : *shape_) {
      empty = empty || dimension == 0;
      if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(dimension, 1), &bytes)) {
        fail(fmt::format("the shape [{}] of tensor {} overflows 64 bits", fmt::join(*shape_, ", "), shown(name_)));
      }
    }
    return empty ? 0 : static_cast<std::uint64_t>(bytes);
  }

  const std::string& file_;
  SafetensorsHeader header_;
  Place place_ = Place::kOutside;
  bool metadata_seen_ = false;
  std::string name_;   // last key of the root
  std::string field_;  // last key of the object inside the root
  std::optional<at::ScalarType> type_;
  std::optional<std::vector<std::int64_t>> shape_;
  std::optional<std::vector<std::uint64_t>> offsets_;
};

// Without gaps and overlaps, no byte is hidden from a reader and none is read twice.
void check_layout(const HeaderReader& reader, const SafetensorsHeader& header, std::uint64_t data_size) {
  using Entry = std::pair<const std::string, TensorInfo>;
  std::vector<const Entry*> by_offset;
  by_offset.reserve(header.tensors.size());
  for (const Entry& entry : header.tensors) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(), [](const Entry* a, const Entry* b) {
    return std::tie(a->second.begin, a->second.end) < std::tie(b->second.begin, b->second.end);
  });
  std::uint64_t expected = 0;
  for (const Entry* entry : by_offset) {
    if (entry->second.begin != expected) {
      reader.fail(fmt::format("tensor {} starts at byte {} of the data, but the bytes before it end at {}",
                              shown(entry->first), entry->second.begin, expected));
    }
    expected = entry->second.end;
  }
  if (expected != data_size) {
    reader.fail(fmt::format("its tensors end at byte {} of the data, but the file holds {} bytes of data", expected,
                            data_size));
  }
}

}  // namespace

std::string_view name_of_type(at::ScalarType type) {
  const auto* found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const NamedType& known) { return known.type == type; });
  return found == kTypes.end() ? std::string_view() : found->name;
}

std::optional<at::ScalarType> type_of_name(std::string_view name) {
  const auto* found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const NamedType& known) { return known.name == name; });
  return found == kTypes.end() ? std::nullopt : std::optional(found->type);
}

std::string shown(std::string_view name) {
  constexpr std::size_t kLongest = 100;
  std::size_t length = std::min(name.size(), kLongest);
  const bool shortened = length < name.size();
  while (shortened && length > 0 && (static_cast<unsigned char>(name[length]) & 0xC0U) == 0x80U) --length;
  return nlohmann::json(name.substr(0, length)).dump(-1, ' ', true) + (shortened ? "..." : "");
}

runtime::DataError invalid_file(const std::string& file, const std::string& reason) {
  return runtime::DataError(fmt::format("{} is not a valid safetensors file: {}", file, reason));
}

SafetensorsHeader parse_safetensors_header(const std::string& file, std::string_view text, std::uint64_t data_size) {
  HeaderReader reader(file);
  if (!is_utf8(text)) reader.fail("its header is not UTF-8");
  // nlohmann's parser would take a zero byte for the end of the text, and leave what follows unread.
  if (text.find('\0') != std::string_view::npos) reader.fail("its header holds a zero byte");
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  SafetensorsHeader header = reader.take();
  check_layout(reader, header, data_size);
  return header;
}

}  // namespace cskd::models
