#include "models/safetensors.h"

#include <cstddef>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "tests/models/safetensors_file.h"
#include "tests/support/temporary_folder.h"

namespace cskd::models {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using tests::read_file;
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using SafetensorsReader = SafetensorsTest;
using SafetensorsWriter = SafetensorsTest;

TEST_F(SafetensorsReader, ReadsEveryTypeFromLiteralBytes) {
  using namespace std::string_literals;
  const auto value = [&](const std::string& type, const std::string& bytes) {
    return read(file_of("{" + entry("a", type, "1", fmt::format("0,{}", bytes.size())) + "}", bytes)).at("a");
  };
  const auto expect = [&](const at::Tensor& tensor, at::ScalarType type, double number) {
    EXPECT_EQ(tensor.scalar_type(), type);
    EXPECT_EQ(tensor.sizes(), at::IntArrayRef({1}));
    EXPECT_EQ(tensor.item().toDouble(), number);
  };
  expect(value("F64", "\0\0\0\0\0\0\xF8\xBF"s), at::kDouble, -1.5);
  expect(value("F32", "\0\0\xC0\xBF"s), at::kFloat, -1.5);
  expect(value("F16", "\x00\xBE"s), at::kHalf, -1.5);
  expect(value("BF16", "\xC0\xBF"s), at::kBFloat16, -1.5);
  expect(value("I64", "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF"s), at::kLong, -2);
  expect(value("I32", "\xFE\xFF\xFF\xFF"s), at::kInt, -2);
  expect(value("I16", "\x01\x80"s), at::kShort, -32767);
  expect(value("I8", "\xFE"s), at::kChar, -2);
  expect(value("U8", "\xFE"s), at::kByte, 254);
  expect(value("BOOL", "\x01"s), at::kBool, 1);
}

TEST_F(SafetensorsReader, EmptyAndRankZeroTensorsAreLegal) {
  const std::string header = "{" + entry("empty", "F32", "3,0,2", "2,2") + "," + entry("none", "I64", "0", "0,0") +
                             "," + entry("scalar", "I16", "", "0,2") + "}";
  const auto tensors = read(file_of(header, "\x05\x01"));
  EXPECT_EQ(tensors.at("empty").sizes(), at::IntArrayRef({3, 0, 2}));
  EXPECT_EQ(tensors.at("none").sizes(), at::IntArrayRef({0}));
  EXPECT_EQ(tensors.at("scalar").dim(), 0);
  EXPECT_EQ(tensors.at("scalar").item().toInt(), 0x105);
}

TEST_F(SafetensorsReader, AnEmptyTensorMayShareItsOffsetWithTheNextOne) {
  const std::string header = "{" + entry("a", "U8", "1", "0,1") + "," + entry("b", "U8", "0", "0,0") + "}";
  EXPECT_EQ(read(file_of(header, "x")).at("a").item().toInt(), 'x');
}

TEST_F(SafetensorsReader, AFileWithoutTensorsIsLegal) {
  EXPECT_TRUE(read(file_of("{}", "")).empty());
  const std::string text = R"({"__metadata__":{"a":"b","":"\u00e9"}}  )";
  const SafetensorsHeader header = read_header(file_of(text, ""));
  EXPECT_EQ(header.metadata, (std::map<std::string, std::string>{{"a", "b"}, {"", "\u00e9"}}));
  EXPECT_EQ(header.data_offset, 8 + text.size());
}

TEST_F(SafetensorsReader, HeaderNeedsNoOrderAndTheDataNoAlignment) {
  const std::string header = "{" + entry("late", "F32", "1", "1,5") + "," + entry("early", "U8", "1", "0,1") + "}";
  const auto tensors = read(file_of(header, std::string("\x07\0\0\x80\x3F", 5)));
  EXPECT_EQ(tensors.at("early").item().toInt(), 7);
  EXPECT_EQ(tensors.at("late").item().toDouble(), 1.0);
}

TEST_F(SafetensorsReader, NamesMayBeAnyText) {
  const auto tensors =
      read(file_of("{" + entry("", "U8", "0", "0,0") + "," + entry("\xC3\xA9\\n\\u20ac", "U8", "0", "0,0") + "}", ""));
  EXPECT_TRUE(tensors.contains(""));
  EXPECT_TRUE(tensors.contains("\u00e9\n\u20ac"));
}

TEST_F(SafetensorsReader, AnUnreadableFileIsNoDataError) {
  for (const auto& [path, reason] :
       {std::pair(folder_ / "absent", "No such file"), std::pair(folder_.path(), "regular")}) {
    try {
      read_safetensors(path);
      ADD_FAILURE() << "read " << path;
    } catch (const runtime::Error& error) {
      EXPECT_EQ(error.exit_code(), runtime::ExitCode::kFailure);
      EXPECT_THAT(error.what(), AllOf(HasSubstr(path.native()), HasSubstr(reason)));
    }
  }
}

TEST_F(SafetensorsReader, AHeaderWhoseLengthStartsLikeAPickleIsRead) {
  // 0x80 and 0x4B50, "PK": multiples of 8, to which other writers pad.
  for (const std::size_t length : {0x80, 0x4B50}) {
    std::string header = "{" + entry("a", "U8", "1", "0,1") + "}";
    header.resize(length, ' ');
    EXPECT_EQ(read(file_of(header, "x")).at("a").item().toInt(), 'x');
    expect_header_refused(header, "is not a valid safetensors file: its tensors end at byte 1");
  }
}

NamedTensors one_of_each_type() {
  const at::Tensor numbers = torch::arange(-3, 4).reshape({7, 1});
  NamedTensors tensors;
  for (const at::ScalarType type : {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kHalf,
                                    at::kBFloat16, at::kFloat, at::kDouble}) {
    tensors.emplace_back(fmt::format("tensor.{}", c10::toString(type)), numbers.to(type));
  }
  tensors.emplace_back("odd bytes before", torch::tensor({std::numeric_limits<double>::quiet_NaN(), -0.0,
                                                          std::numeric_limits<double>::infinity()}));
  tensors.emplace_back("scalar", torch::tensor(2.5F));
  tensors.emplace_back("empty", torch::empty({0, 5}));
  return tensors;
}

std::string bytes_of(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.contiguous();
  return {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()};
}

TEST_F(SafetensorsWriter, RoundTrip) {
  const NamedTensors tensors = one_of_each_type();
  const std::map<std::string, std::string> metadata{{"format", "pt"}, {"note", "line\n\"quoted\" \u20ac"}};
  write_safetensors(path_, tensors, metadata);
  EXPECT_EQ(read_safetensors_header(path_).metadata, metadata);
  const auto found = read_safetensors(path_);
  ASSERT_EQ(found.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    SCOPED_TRACE(name);
    EXPECT_EQ(found.at(name).scalar_type(), tensor.scalar_type());
    EXPECT_EQ(found.at(name).sizes(), tensor.sizes());
    EXPECT_EQ(bytes_of(found.at(name)), bytes_of(tensor));
  }
}

TEST_F(SafetensorsWriter, DataIsAlignedAndInTheGivenOrder) {
  for (std::size_t length = 1; length < 70; ++length) {
    write_safetensors(
        path_, {{std::string(length, 'z'), torch::ones({1}, at::kByte)}, {"a", torch::zeros({1}, at::kByte)}}, {});
    const SafetensorsHeader header = read_safetensors_header(path_);
    EXPECT_EQ(header.data_offset % 64, 0U);
    EXPECT_EQ(header.tensors.at("a").begin, 1U);
  }
}

TEST_F(SafetensorsWriter, WritesTheBytesOfTheFormat) {
  write_safetensors(path_, {{"b", torch::tensor({1.0F})}, {"a", torch::tensor(true)}}, {{"k", "v"}});
  std::string header = R"({"__metadata__":{"k":"v"},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)";
  header += R"("a":{"dtype":"BOOL","shape":[],"data_offsets":[4,5]}})";
  header.resize(192 - 8, ' ');
  EXPECT_EQ(read_file(path_), file_of(header, std::string("\0\0\x80\x3F\1", 5)));
}

TEST_F(SafetensorsWriter, MakesTensorsContiguous) {
  const at::Tensor whole = torch::arange(24).reshape({2, 3, 4}).to(at::kFloat).requires_grad_();
  const NamedTensors views{{"transposed", whole.transpose(0, 2)},
                           {"step", whole.slice(2, 0, 4, 2)},
                           {"expanded", whole[0][0][1].expand({3})}};
  write_safetensors(path_, views, {});
  const auto found = read_safetensors(path_);
  for (const auto& [name, tensor] : views) EXPECT_TRUE(found.at(name).equal(tensor)) << name;
}

TEST_F(SafetensorsWriter, RefusesWhatTheFormatCannotHold) {
  const at::Tensor good = torch::ones({1});
  EXPECT_THROW(write_safetensors(path_, {{"a", good}, {"a", good}}, {}), runtime::CheckFailure);
  EXPECT_THROW(write_safetensors(path_, {{"__metadata__", good}}, {}), runtime::CheckFailure);
  EXPECT_THROW(write_safetensors(path_, {{"a", at::Tensor()}}, {}), runtime::CheckFailure);
  EXPECT_THROW(write_safetensors(path_, {{"a", good.to(at::kComplexFloat)}}, {}), runtime::CheckFailure);
  EXPECT_THROW(write_safetensors(path_, {{"a", good.to_sparse()}}, {}), runtime::CheckFailure);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(SafetensorsWriter, AFullDiskLeavesTheOldFile) {
  write_safetensors(path_, {{"a", torch::ones({1})}}, {});
  // The writes: length, header, first tensor, second tensor.
  for (int nth = 1; nth <= 4; ++nth) {
    runtime::arm_failure("atomic_file.write", nth, runtime::FailureAction::kFull);
    EXPECT_THAT(
        [&] {
          write_safetensors(path_, {{"a", torch::zeros({1})}, {"b", torch::zeros({1})}}, {});
        },
        ThrowsMessage<runtime::Error>(HasSubstr("No space left")));
    runtime::disarm_failure();
    EXPECT_EQ(read_safetensors(path_).at("a").item().toDouble(), 1.0);
  }
}

}  // namespace
}  // namespace cskd::models
