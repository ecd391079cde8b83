// A file in memory for what a fuzzer makes up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <unistd.h>

namespace cskd::fuzz {

// A folder of this process in shared memory; removed by nobody but the next boot, or tests/fuzz.sh.
inline const std::filesystem::path& scratch_folder() {
  static const std::filesystem::path folder = [] {
    const char* parent = std::getenv("CSKD_FUZZ_FOLDER");
    std::filesystem::path made =
        std::filesystem::path(parent != nullptr ? parent : "/dev/shm") / ("fuzz-" + std::to_string(::getpid()));
    std::filesystem::create_directories(made);
    return made;
  }();
  return folder;
}

inline std::filesystem::path write(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace cskd::fuzz
