// How fast libjpeg-turbo alone decodes the JPEG files of a folder: read, decoded to RGB, thrown away. Nothing else
// could be faster than that and still look at every pixel.
//
//   decode_benchmark FOLDER THREADS     prints {"pictures": n, "seconds": s}
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <turbojpeg.h>

#include "runtime/input_file.h"
#include "runtime/threads.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: decode_benchmark FOLDER THREADS\n");
    return 2;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& item : std::filesystem::recursive_directory_iterator(argv[1])) {
    if (item.path().extension() == ".jpg") files.push_back(item.path());
  }
  std::atomic<std::size_t> next{0};
  const auto start = std::chrono::steady_clock::now();
  cskd::runtime::run_on_threads(std::atoi(argv[2]), [&](int) {
    const tjhandle decoder = tjInitDecompress();
    std::vector<unsigned char> pixels;
    for (std::size_t i = next++; i < files.size(); i = next++) {
      const cskd::runtime::InputFile file(files[i]);
      const std::vector<std::byte> bytes = file.read_at(0, file.size());
      const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
      int width = 0;
      int height = 0;
      int sampling = 0;
      int space = 0;
      tjDecompressHeader3(decoder, data, bytes.size(), &width, &height, &sampling, &space);
      pixels.resize(std::size_t{3} * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
      if (tjDecompress2(decoder, data, bytes.size(), pixels.data(), width, 0, height, TJPF_RGB, TJFLAG_ACCURATEDCT) !=
          0) {
        fmt::print(stderr, "{}: {}\n", files[i].native(), tjGetErrorStr2(decoder));
        std::exit(1);
      }
    }
    tjDestroy(decoder);
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{{\"pictures\": {}, \"seconds\": {}}}\n", files.size(), seconds);
  return 0;
}
