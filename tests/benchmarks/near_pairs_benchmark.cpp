// Times data::find_near_pairs() on uniform hashes of which one in a thousand is a near copy of another one, and counts
// how many of these it finds. Prints one JSON line per size.
//   near_pairs_benchmark [--distance 6] [--threads 2] [--sizes 100000 1000000 10000000]
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include "data/near_pairs.h"
#include "runtime/error.h"
#include "runtime/philox.h"

namespace {

constexpr std::uint64_t kSeed = 1;
constexpr std::uint32_t kCopyEvery = 1000;

struct Hashes {
  std::vector<std::uint64_t> all;
  std::vector<std::uint32_t> origin;  // hash i * kCopyEvery + kCopyEvery - 1 is a near copy of this one
};

// The copies differ in 0 to `distance` bits.
Hashes make_hashes(std::uint32_t size, int distance) {
  Hashes hashes;
  hashes.all.reserve(size);
  hashes.origin.reserve(size / kCopyEvery);
  for (std::uint32_t i = 0; i < size; ++i) {
    cskd::runtime::Philox random(kSeed, 0, i);
    if (i % kCopyEvery != kCopyEvery - 1) {
      hashes.all.push_back(random.bits64());
      continue;
    }
    hashes.origin.push_back(random.below(i));
    std::uint64_t flipped = 0;
    for (std::uint32_t left = random.below(static_cast<std::uint32_t>(distance) + 1); left > 0;) {
      const std::uint64_t bit = 1ULL << random.below(64);
      if ((flipped & bit) == 0) --left;
      flipped |= bit;
    }
    hashes.all.push_back(hashes.all[hashes.origin.back()] ^ flipped);
  }
  return hashes;
}

double resident_mib() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  if (!(file >> total >> resident)) throw cskd::runtime::Error("cannot read /proc/self/statm");
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double most_resident_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void run(std::uint32_t size, int distance, int threads) {
  const Hashes hashes = make_hashes(size, distance);
  const double resident = resident_mib();
  std::uint64_t pairs = 0;
  std::uint64_t found = 0;
  const auto start = std::chrono::steady_clock::now();
  cskd::data::find_near_pairs(hashes.all, {.distance = distance, .threads = threads},
                              [&](std::uint32_t first, std::uint32_t second) {
                                ++pairs;
                                const bool is_copy = second % kCopyEvery == kCopyEvery - 1;
                                if (is_copy && hashes.origin[second / kCopyEvery] == first) ++found;
                              });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  fmt::print(
      "{{\"hashes\": {}, \"distance\": {}, \"threads\": {}, \"blocks\": {}, \"seconds\": {:.3f}, \"pairs\": {}, "
      "\"planted_found\": {}, \"planted\": {}, \"peak_extra_mib\": {:.1f}}}\n",
      size, distance, threads, cskd::data::near_blocks(size, distance), seconds.count(), pairs, found,
      hashes.origin.size(), most_resident_mib() - resident);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    CLI::App app("Times the search for near-equal hashes");
    int distance = 6;
    int threads = 2;
    std::vector<std::uint32_t> sizes = {100'000, 1'000'000, 10'000'000};
    app.add_option("--distance", distance)->check(CLI::Range(0, cskd::data::kLargestNearDistance));
    app.add_option("--threads", threads)->check(CLI::PositiveNumber);
    app.add_option("--sizes", sizes)->check(CLI::PositiveNumber);
    CLI11_PARSE(app, argc, argv);
    // The process's peak of memory only ever rises.
    std::sort(sizes.begin(), sizes.end());
    for (const std::uint32_t size : sizes) run(size, distance, threads);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "near_pairs_benchmark: %s\n", error.what());
    return 1;
  }
  return 0;
}
