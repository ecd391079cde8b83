// Safetensors files made from literal text and bytes, good and bad.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/safetensors.h"
#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace cskd::models {

inline std::string little_endian(std::uint64_t number) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(number >> (8 * i) & 0xFF);
  return bytes;
}

inline std::string file_of(const std::string& header, const std::string& data) {
  return little_endian(header.size()) + header + data;
}

inline std::string entry(const std::string& name, const std::string& type, const std::string& shape,
                         const std::string& offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{}]}})", name, type, shape, offsets);
}

class SafetensorsTest : public testing::Test {
 protected:
  static void write(const std::filesystem::path& path, const std::string& bytes) {
    if (!(std::ofstream(path, std::ios::binary) << bytes << std::flush)) {
      throw std::runtime_error("cannot write " + path.native());
    }
  }
  std::map<std::string, at::Tensor> read(const std::string& bytes) {
    write(path_, bytes);
    return read_safetensors(path_);
  }
  SafetensorsHeader read_header(const std::string& bytes) {
    write(path_, bytes);
    return read_safetensors_header(path_);
  }
  // Both readers refuse it as bad data and name file and reason.
  void expect_refused(const std::string& bytes, const std::string& reason) {
    SCOPED_TRACE(reason);
    const auto says = testing::ThrowsMessage<runtime::DataError>(
        testing::AllOf(testing::StartsWith(path_.native()), testing::HasSubstr(reason)));
    EXPECT_THAT([&] { read(bytes); }, says);
    EXPECT_THAT([&] { read_safetensors_header(path_); }, says);
  }
  void expect_header_refused(const std::string& header, const std::string& reason, const std::string& data = "") {
    SCOPED_TRACE(header);
    expect_refused(file_of(header, data), reason);
  }

  const tests::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "weights.safetensors";
};

}  // namespace cskd::models
