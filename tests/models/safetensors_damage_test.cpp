// One named test for each kind of damage.
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/safetensors.h"
#include "runtime/error.h"
#include "tests/models/safetensors_file.h"

namespace cskd::models {
namespace {

using runtime::DataError;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using SafetensorsDamage = SafetensorsTest;

TEST_F(SafetensorsDamage, FileShorterThanTheLength) {
  expect_refused("", "it has 0 bytes");
  expect_refused(std::string(7, '\0'), "it has 7 bytes");
}

TEST_F(SafetensorsDamage, HeaderLongerThanAllowed) {
  expect_refused(little_endian(100'000'001) + "{}", "100000001 bytes, at most 100000000");
  expect_refused(little_endian(std::numeric_limits<std::uint64_t>::max()) + "{}", "at most 100000000");
}

TEST_F(SafetensorsDamage, HeaderLongerThanTheFile) {
  expect_refused(little_endian(3) + "{}", "would have 3 bytes, but only 2 follow");
  expect_refused(little_endian(100'000'000), "only 0 follow");
}

TEST_F(SafetensorsDamage, HeaderDoesNotStartWithABrace) {
  for (const char* header : {"", " {}", "[]", "\xEF\xBB\xBF{}", "null"}) {
    expect_header_refused(header, "does not start with '{'");
  }
}

TEST_F(SafetensorsDamage, HeaderIsNotUtf8) {
  for (const char* bytes : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xC3(", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80",
                            "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    expect_header_refused("{" + entry(bytes, "U8", "0", "0,0") + "}", "not UTF-8");
    expect_header_refused(std::string("{}") + bytes, "not UTF-8");
  }
  EXPECT_EQ(
      read(file_of("{" + entry("\u0080\u07FF\u0800\uFFFF\U00010000\U0010FFFF", "U8", "0", "0,0") + "}", "")).size(),
      1U);
}

TEST_F(SafetensorsDamage, HeaderIsNotJson) {
  const std::string one = entry("a", "U8", "0", "0,0");
  const std::vector<std::string> headers{
      "{",      "{" + one,         "{" + one + ",}", "{" + one + "}x", "{" + one + "}{}",
      "{}/**/", R"({"\ud800":1})", "{\"a\nb\":1}",   "{a:1}"};
  for (const std::string& header : headers) {
    expect_header_refused(header, "not JSON near byte");
  }
  expect_header_refused("{" + entry("a", "U8", "1e999", "0,0") + "}", "not JSON near byte");
}

TEST_F(SafetensorsDamage, HeaderHidesTextBehindAZeroByte) {
  expect_header_refused(std::string("{}\0}", 4), "zero byte");
}

TEST_F(SafetensorsDamage, NestedDeeperThanTheFormat) {
  expect_header_refused("{\"a\":" + std::string(1'000'000, '['), "key \"a\" holds an array");
  std::string objects = "{\"a\":";
  for (int i = 0; i < 100'000; ++i) objects += "{\"shape\":";
  expect_header_refused(objects, "shape of tensor \"a\" holds an object");
  expect_header_refused(R"({"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})",
                        "shape of tensor \"a\" holds an array", "x");
}

TEST_F(SafetensorsDamage, KeyTwice) {
  const std::string one = entry("a", "U8", "0", "0,0");
  expect_header_refused("{" + one + "," + one + "}", "the key \"a\" occurs twice");
  expect_header_refused("{" + one + "," + entry("\\u0061", "U8", "0", "0,0") + "}", "the key \"a\" occurs twice");
  expect_header_refused(R"({"__metadata__":{},"__metadata__":{}})", "the key \"__metadata__\" occurs twice");
  expect_header_refused(R"({"__metadata__":{"k":"1","k":"1"}})", "the key \"k\" of \"__metadata__\" occurs twice");
  for (const char* field : {R"("dtype":"U8")", R"("shape":[0])", R"("data_offsets":[0,0])"}) {
    expect_header_refused(one.substr(0, one.size() - 1).insert(0, "{") + "," + field + "}}", "of \"a\" occurs twice");
  }
}

TEST_F(SafetensorsDamage, MetadataIsNotText) {
  for (const char* value : {"1", "-1", "1.5", "null", "true", "{}", "[]"}) {
    expect_header_refused(fmt::format(R"({{"__metadata__":{{"k":{}}}}})", value), "where a string belongs");
  }
  for (const char* value : {"1", "\"text\"", "null", "[]"}) {
    expect_header_refused(fmt::format(R"({{"__metadata__":{}}})", value), "key \"__metadata__\" holds");
  }
}

TEST_F(SafetensorsDamage, TypeIsUnknown) {
  for (const char* type : {"", "f32", "F8_E4M3", "U16", "C64", "F32 "}) {
    expect_header_refused(
        "{" + entry("a", type, "0", "0,0") + "}",
        fmt::format("tensor \"a\" has the type \"{}\", which cskd does not read; it reads F64, ", type));
  }
  for (const char* type : {"1", "null", "[\"F32\"]", "{}"}) {
    expect_header_refused(fmt::format(R"({{"a":{{"dtype":{},"shape":[0],"data_offsets":[0,0]}}}})", type),
                          "dtype of tensor \"a\" holds");
  }
}

TEST_F(SafetensorsDamage, FieldIsMissingOrUnknown) {
  expect_header_refused(R"({"a":{}})", "tensor \"a\" lacks its dtype");
  expect_header_refused(R"({"a":{"dtype":"U8","data_offsets":[0,0]}})", "tensor \"a\" lacks its shape");
  expect_header_refused(R"({"a":{"dtype":"U8","shape":[0]}})", "tensor \"a\" lacks its data_offsets");
  expect_header_refused(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"device":"cpu"}})",
                        "unknown field \"device\"");
  expect_header_refused(R"({"a":3})", "key \"a\" holds the number 3 where an object belongs");
  expect_header_refused(R"({"a":{"dtype":"U8","shape":4,"data_offsets":[0,4]}})", "where an array belongs", "1234");
}

TEST_F(SafetensorsDamage, ShapeIsNotMadeOfWholeNumbers) {
  for (const char* shape : {"-1", "-0", "-9223372036854775808"}) {
    expect_header_refused("{" + entry("a", "U8", shape, "0,0") + "}",
                          "shape of tensor \"a\" holds the negative number");
  }
  for (const char* shape : {"1.0", "1e0", "18446744073709551616", "-9223372036854775809"}) {
    expect_header_refused("{" + entry("a", "U8", shape, "0,1") + "}", "not a whole number below 2^64", "x");
  }
  for (const char* shape : {"\"1\"", "null", "true"}) {
    expect_header_refused("{" + entry("a", "U8", shape, "0,1") + "}", "shape of tensor \"a\" holds", "x");
  }
}

TEST_F(SafetensorsDamage, ShapeOverflows) {
  expect_header_refused("{" + entry("a", "U8", "9223372036854775808", "0,0") + "}", "dimension of 9223372036854775808");
  // 2^64 bytes, which are 0 in 64 bits; then 2^63; then elements that fit and bytes that do not.
  for (const char* shape : {"4294967296,4294967296", "4294967296,2147483648", "4611686018427387904,2",
                            "4294967296,4294967296,0", "0,9223372036854775807,9223372036854775807"}) {
    expect_header_refused("{" + entry("a", "U8", shape, "0,0") + "}", "overflows 64 bits");
  }
  expect_header_refused("{" + entry("a", "F32", "4611686018427387904", "0,0") + "}", "overflows 64 bits");
  EXPECT_EQ(read(file_of("{" + entry("a", "U8", "9223372036854775807,0", "0,0") + "}", "")).at("a").numel(), 0);
}

TEST_F(SafetensorsDamage, TooManyDimensions) {
  std::string ones = "1";
  for (int i = 1; i < 64; ++i) ones += ",1";
  EXPECT_EQ(read(file_of("{" + entry("a", "U8", ones, "0,1") + "}", "x")).at("a").dim(), 64);
  expect_header_refused("{" + entry("a", "U8", ones + ",1", "0,1") + "}", "more than 64 dimensions", "x");
}

TEST_F(SafetensorsDamage, OffsetsAreNotTwoWholeNumbers) {
  for (const char* offsets : {"", "0", "0,1,1"}) {
    expect_header_refused("{" + entry("a", "U8", "1", offsets) + "}",
                          "data_offsets of tensor \"a\" are not two numbers", "x");
  }
  for (const char* offsets : {"-1,0", "0,1.0", "0,18446744073709551617", "0,\"1\"", "[0],1", "0,null"}) {
    expect_header_refused("{" + entry("a", "U8", "1", offsets) + "}", "data_offsets of tensor \"a\" hold", "x");
  }
}

TEST_F(SafetensorsDamage, TensorEndsBeforeItsStart) {
  expect_header_refused("{" + entry("a", "U8", "1", "1,0") + "}", "tensor \"a\" ends at byte 0 before its start at 1",
                        "x");
  // In 64 bits the difference is the 1 byte that the shape needs.
  expect_header_refused("{" + entry("a", "U8", "1", "18446744073709551615,0") + "}", "before its start", "x");
}

TEST_F(SafetensorsDamage, TensorsLeaveAGap) {
  expect_header_refused("{" + entry("a", "U8", "1", "0,1") + "," + entry("b", "U8", "1", "2,3") + "}",
                        "tensor \"b\" starts at byte 2 of the data, but the bytes before it end at 1", "xyz");
  expect_header_refused("{" + entry("a", "U8", "1", "0,1") + "," + entry("b", "U8", "0", "3,3") + "}",
                        "tensor \"b\" starts at byte 3", "xyz");
}

TEST_F(SafetensorsDamage, TensorsOverlap) {
  expect_header_refused("{" + entry("a", "U8", "2", "0,2") + "," + entry("b", "U8", "2", "1,3") + "}",
                        "tensor \"b\" starts at byte 1 of the data, but the bytes before it end at 2", "xyz");
  expect_header_refused("{" + entry("a", "U8", "2", "0,2") + "," + entry("b", "U8", "2", "0,2") + "}",
                        "tensor \"b\" starts at byte 0", "xy");
  expect_header_refused("{" + entry("a", "U8", "2", "0,2") + "," + entry("b", "U8", "0", "1,1") + "}",
                        "tensor \"b\" starts at byte 1", "xy");
}

TEST_F(SafetensorsDamage, TheFirstTensorDoesNotStartAtZero) {
  expect_header_refused("{" + entry("a", "U8", "1", "1,2") + "}", "tensor \"a\" starts at byte 1", "xy");
}

TEST_F(SafetensorsDamage, TheFileGoesOnBehindTheLastTensor) {
  expect_header_refused("{" + entry("a", "U8", "1", "0,1") + "}",
                        "end at byte 1 of the data, but the file holds 2 bytes", "xy");
  expect_header_refused("{}", "the file holds 1 bytes", "x");
}

TEST_F(SafetensorsDamage, TheFileWasCutOff) {
  expect_header_refused("{" + entry("a", "F32", "2", "0,8") + "}",
                        "end at byte 8 of the data, but the file holds 7 bytes", "1234567");
  expect_header_refused("{" + entry("a", "U8", "9223372036854775807", "0,9223372036854775807") + "}",
                        "the file holds 1 bytes", "x");
}

TEST_F(SafetensorsDamage, TheBytesDoNotFitTheShape) {
  expect_header_refused("{" + entry("a", "F32", "2", "0,7") + "}", "tensor \"a\" has 7 bytes where its F32 [2] needs 8",
                        "1234567");
  expect_header_refused("{" + entry("a", "U8", "", "0,0") + "}", "tensor \"a\" has 0 bytes where its U8 [] needs 1");
  expect_header_refused("{" + entry("a", "U8", "0", "0,1") + "}", "has 1 bytes where its U8 [0] needs 0", "x");
}

TEST_F(SafetensorsDamage, ABoolIsNeitherTrueNorFalse) {
  EXPECT_THAT([&] { read(file_of("{" + entry("a", "BOOL", "3", "0,3") + "}", std::string("\0\1\2", 3))); },
              ThrowsMessage<DataError>(HasSubstr("tensor \"a\" of type BOOL holds a byte that is neither 0 nor 1")));
}

TEST_F(SafetensorsDamage, AMessageStaysShortAndPrintable) {
  const std::string name = "\\u001b[31m\u00e9" + std::string(1'000'000, 'x');
  try {
    read(file_of("{" + entry(name, "U8", "1", "0,0") + "}", ""));
    ADD_FAILURE() << "was read";
  } catch (const DataError& error) {
    const std::string message = error.what();
    EXPECT_LT(message.size(), path_.native().size() + 250);
    EXPECT_THAT(message, HasSubstr("\"\\u001b[31m\\u00e9xxx"));
    for (const char c : message) EXPECT_TRUE(c >= ' ' && c <= '~') << static_cast<int>(c);
  }
}

TEST_F(SafetensorsDamage, APickleIsRefusedWithItsRemedy) {
  // How torch.save starts: a zip archive today, bare pickle protocol 2 before PyTorch 1.6.
  const std::string zip("PK\x03\x04\x00\x00\x08\x08\x00\x00weights/data.pkl", 26);
  const std::string bare("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.");
  for (const std::string& bytes : {zip, bare, std::string("PK"), std::string("\x80\x04.")}) {
    expect_refused(bytes, "looks like a PyTorch pickle");
    expect_refused(bytes, "python3 -c \"import torch");
    expect_refused(bytes, "weights.converted.safetensors')\"\n");
  }
}

TEST_F(SafetensorsDamage, TheRemedyHoldsNoFileNameThatAShellWouldRun) {
  const std::filesystem::path path = folder_ / "$(reboot)'.pt";
  write(path, "PK");
  EXPECT_THAT([&] { read_safetensors(path); }, ThrowsMessage<DataError>(AllOf(HasSubstr("torch.load('weights.pt'"),
                                                                              HasSubstr("'weights.safetensors')"))));
}

}  // namespace
}  // namespace cskd::models
