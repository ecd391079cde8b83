// Valid files with random damage: each is read or refused as bad data, and never anything else. Under AddressSanitizer
// this also shows that nothing is read outside the file's bytes.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "models/safetensors.h"
#include "runtime/error.h"
#include "runtime/philox.h"
#include "tests/models/safetensors_file.h"

namespace cskd::models {
namespace {

using runtime::Philox;

constexpr std::size_t kLengthBytes = 8;

std::string valid_file() {
  const std::string header = R"({"__metadata__":{"format":"pt","epoch":"12"},)" + entry("w", "F32", "2,3", "0,24") +
                             "," + entry("b", "BOOL", "3", "24,27") + "," + entry("n", "I64", "", "27,35") + "," +
                             entry("e", "F16", "0,4", "35,35") + "," + entry("\u00e9", "BF16", "1,1", "35,37") + "}  ";
  std::string data(37, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = i >= 24 && i < 27 ? '\1' : static_cast<char>(i * 7);
  return file_of(header, data);
}

// Words that lead further into a parser than random bytes do.
constexpr std::array<std::string_view, 28> kWords{"{",
                                                  "}",
                                                  "[",
                                                  "]",
                                                  ",",
                                                  ":",
                                                  "\"",
                                                  "\\u0000",
                                                  "\\ud800",
                                                  "-1",
                                                  "0",
                                                  "1",
                                                  "4",
                                                  "24",
                                                  "35",
                                                  "1e9",
                                                  "4294967296",
                                                  "9223372036854775807",
                                                  "18446744073709551615",
                                                  "18446744073709551616",
                                                  "null",
                                                  "{\"\":{}}",
                                                  "\"w\":",
                                                  "\"dtype\"",
                                                  "\"shape\":[0],",
                                                  "\"F64\"",
                                                  "\xFF",
                                                  "\xC3\xA9"};

// A file in memory, because tens of thousands of files are slow on a disk.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("safetensors", MFD_CLOEXEC)) {
    if (descriptor_ < 0) throw std::runtime_error("memfd_create failed");
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::filesystem::path path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }
  void replace(const std::string& bytes) const {
    if (::ftruncate(descriptor_, 0) != 0 ||
        ::pwrite(descriptor_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
      throw std::runtime_error("cannot write to memory");
    }
  }

 private:
  int descriptor_;
};

void set_length(std::string& bytes, std::uint64_t length) { bytes.replace(0, kLengthBytes, little_endian(length)); }

void mutate(std::string& bytes, Philox& random) {
  const auto below = [&](std::size_t bound) { return std::size_t{random.below(static_cast<std::uint32_t>(bound))}; };
  const std::size_t old_size = bytes.size();
  // Mostly in the header: damaged data is legal.
  const std::size_t end = random.below(8) == 0 ? bytes.size() : bytes.size() - 37;
  const std::size_t place = kLengthBytes + below(end - kLengthBytes);
  const std::size_t count = 1 + below(random.below(4) == 0 ? 40 : 3);
  switch (random.below(8)) {
    case 0:
      bytes[place] = static_cast<char>(bytes[place] ^ (1 << random.below(8)));
      break;
    case 1:
      bytes[place] = static_cast<char>(random());
      break;
    case 2:
      bytes.insert(place, kWords[below(kWords.size())]);
      break;
    case 3:
      bytes.replace(place, count, kWords[below(kWords.size())]);
      break;
    case 4:
      bytes.erase(place, count);
      break;
    case 5:
      bytes.insert(kLengthBytes + below(end - kLengthBytes), bytes.substr(place, count));
      break;
    case 6: {
      // A digit for a digit: the file stays JSON and its numbers disagree.
      const std::size_t digit = bytes.find_first_of("0123456789", place);
      if (digit != std::string::npos) bytes[digit] = static_cast<char>('0' + random.below(10));
      break;
    }
    default:
      if (random.below(2) == 0) {
        bytes.resize(below(bytes.size() + 1));
      } else {
        set_length(bytes, random.below(2) == 0 ? random.bits64() >> random.below(64) : random.below(600));
      }
      return;
  }
  if (random.below(8) != 0) {
    std::uint64_t length = 0;
    for (std::size_t i = kLengthBytes; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
    set_length(bytes, length + bytes.size() - old_size);
  }
}

TEST(SafetensorsMutation, EveryFileIsReadOrRefused) {
  const MemoryFile file;
  const std::string original = valid_file();
  file.replace(original);
  ASSERT_EQ(read_safetensors(file.path()).size(), 5U);
  const int files = std::getenv("CSKD_TEST_FULL") != nullptr ? 500'000 : 20'000;
  int accepted = 0;
  for (int item = 0; item < files; ++item) {
    Philox random(1, 0, static_cast<std::uint64_t>(item));
    std::string bytes = original;
    mutate(bytes, random);
    while (random.below(3) == 0 && bytes.size() > original.size() / 2) mutate(bytes, random);
    file.replace(bytes);
    try {
      const auto tensors = read_safetensors(file.path());
      ++accepted;
      // Each byte behind the header was read into exactly one tensor, in order.
      const SafetensorsHeader header = read_safetensors_header(file.path());
      std::string data(bytes.size() - header.data_offset, '?');
      for (const auto& [name, tensor] : tensors) {
        const TensorInfo& info = header.tensors.at(name);
        ASSERT_EQ(tensor.nbytes(), info.end - info.begin) << "item " << item;
        data.replace(info.begin, tensor.nbytes(), static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
      }
      ASSERT_EQ(data, bytes.substr(header.data_offset)) << "item " << item;
    } catch (const runtime::DataError&) {
    } catch (const std::exception& error) {
      FAIL() << "item " << item << ": " << error.what();
    }
  }
  // Neither outcome is rare, or the test would show little.
  EXPECT_GT(accepted, files / 50);
  EXPECT_LT(accepted, files / 2);
}

}  // namespace
}  // namespace cskd::models
