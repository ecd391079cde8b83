// How fast libjpeg-turbo alone decodes the JPEG files of a folder. Nothing else could be faster than that and still
// look at every pixel that counts.
//
//   decode_benchmark FOLDER THREADS             whole pictures, read from the files, to RGB
//   decode_benchmark FOLDER THREADS MIN_AREA    random crops, as training draws them, of pictures that lie in memory
//
// Prints {"pictures": n, "seconds": s, "images_per_second": r}.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <jpeglib.h>
#include <turbojpeg.h>

#include "data/view.h"
#include "runtime/freed_memory.h"
#include "runtime/input_file.h"
#include "runtime/threads.h"

namespace {

using Bytes = std::vector<std::byte>;

Bytes read(const std::filesystem::path& path) {
  const cskd::runtime::InputFile file(path);
  return file.read_at(0, file.size());
}

const unsigned char* data_of(const Bytes& bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

void decode_whole(const Bytes& bytes) {
  thread_local const tjhandle decoder = tjInitDecompress();
  thread_local std::vector<unsigned char> pixels;
  int width = 0;
  int height = 0;
  int sampling = 0;
  int space = 0;
  tjDecompressHeader3(decoder, data_of(bytes), bytes.size(), &width, &height, &sampling, &space);
  pixels.resize(std::size_t{3} * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  if (tjDecompress2(decoder, data_of(bytes), bytes.size(), pixels.data(), width, 0, height, TJPF_RGB,
                    TJFLAG_ACCURATEDCT) != 0) {
    fmt::print(stderr, "{}\n", tjGetErrorStr2(decoder));
    std::exit(1);
  }
}

// No more columns and rows than libjpeg needs for the crop; each row over the one before.
void decode_crop(const Bytes& bytes, std::size_t number, double min_area) {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);  // ends the process
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, data_of(bytes), bytes.size());
  jpeg_read_header(&info, TRUE);
  info.out_color_space = JCS_RGB;
  jpeg_start_decompress(&info);
  cskd::runtime::Philox random(1, 0, number);
  const cskd::data::Box box = cskd::data::random_resized_crop(random, static_cast<int>(info.image_width),
                                                              static_cast<int>(info.image_height), min_area)
                                  .box;
  auto first = static_cast<JDIMENSION>(box.x);
  auto columns = static_cast<JDIMENSION>(box.width);
  jpeg_crop_scanline(&info, &first, &columns);
  jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(box.y));
  thread_local std::vector<unsigned char> row;
  row.resize(std::size_t{3} * columns);
  JSAMPROW target = row.data();
  for (int y = 0; y < box.height; ++y) jpeg_read_scanlines(&info, &target, 1);
  jpeg_destroy_decompress(&info);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    fmt::print(stderr, "usage: decode_benchmark FOLDER THREADS [MIN_AREA]\n");
    return 2;
  }
  cskd::runtime::keep_freed_memory();
  std::vector<std::filesystem::path> files;
  for (const auto& item : std::filesystem::recursive_directory_iterator(argv[1])) {
    if (item.path().extension() == ".jpg") files.push_back(item.path());
  }
  std::function<void(std::size_t)> decode = [&](std::size_t i) { decode_whole(read(files[i])); };
  std::vector<Bytes> pictures;
  if (argc == 4) {
    for (const std::filesystem::path& path : files) pictures.push_back(read(path));
    decode = [&, min_area = std::atof(argv[3])](std::size_t i) { decode_crop(pictures[i], i, min_area); };
  }
  std::atomic<std::size_t> next{0};
  const auto start = std::chrono::steady_clock::now();
  cskd::runtime::run_on_threads(std::atoi(argv[2]), [&](int) {
    for (std::size_t i = next++; i < files.size(); i = next++) decode(i);
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{{\"pictures\": {}, \"seconds\": {}, \"images_per_second\": {}}}\n", files.size(), seconds,
             static_cast<double>(files.size()) / seconds);
  return 0;
}
