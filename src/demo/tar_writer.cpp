#include "demo/tar_writer.h"

#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "runtime/check.h"

namespace cskd::demo {
namespace {

constexpr size_t kBlock = 512;

void put(std::string& header, size_t at, const std::string& text) { header.replace(at, text.size(), text); }

}  // namespace

void TarWriter::add(const std::string& name, const std::string& contents) {
  CSKD_CHECK(!name.empty() && name.size() <= 100, "tar member name of {} characters", name.size());
  // Offsets and lengths: POSIX.1-2017, pax, "ustar Interchange Format".
  std::string header(kBlock, '\0');
  put(header, 0, name);
  put(header, 100, "0000644");
  put(header, 108, "0000000");
  put(header, 116, "0000000");
  put(header, 124, fmt::format("{:011o}", contents.size()));
  put(header, 136, "00000000000");
  put(header, 148, "        ");
  put(header, 156, "0");
  put(header, 257, std::string("ustar\0", 6) + "00");
  const unsigned sum = std::accumulate(header.begin(), header.end(), 0U,
                                       [](unsigned total, char c) { return total + static_cast<unsigned char>(c); });
  put(header, 148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  bytes_ += header + contents;
  bytes_.append((kBlock - contents.size() % kBlock) % kBlock, '\0');
}

std::string TarWriter::finish() {
  bytes_.append(2 * kBlock, '\0');
  return std::exchange(bytes_, {});
}

}  // namespace cskd::demo
