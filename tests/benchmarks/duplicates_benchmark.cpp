// How long packing takes to decide about made-up pictures, which of them it drops and where the others go, and how much
// memory that takes: uniform perceptual hashes, of 1,000 pictures one an exact and one a near copy of an earlier one.
// Prints one JSON line.
//   duplicates_benchmark FOLDER PICTURES [THREADS]     FOLDER, which is made, needs 400 bytes of disk for each picture
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>

#include <fmt/format.h>
#include <sys/resource.h>

#include "packing/duplicates.h"
#include "packing/shard_plan.h"
#include "runtime/philox.h"
#include "runtime/world.h"

namespace {

namespace packing = cskd::packing;

constexpr std::uint64_t kSeed = 1;
constexpr std::uint64_t kEvery = 1000;  // picture i with i % kEvery == 998: an exact copy; 999: a near one

struct Look {
  std::uint64_t phash;
  std::uint32_t level;
};

Look look_of(std::uint64_t number) {
  cskd::runtime::Philox random(kSeed, 0, number);
  return {random.bits64(), random.below(256)};
}

// The original of the copy `number`.
std::uint64_t original_of(std::uint64_t number) {
  cskd::runtime::Philox random(kSeed, 1, number);
  return random.bits64() % (number / kEvery + 1) * kEvery;
}

packing::IndexRecord record_of(std::uint64_t number) {
  const bool is_exact = number % kEvery == kEvery - 2;
  const bool is_near = number % kEvery == kEvery - 1;
  const std::uint64_t original = is_exact || is_near ? original_of(number) : number;
  const Look look = look_of(original);
  const std::array<std::uint64_t, 2> name{original, is_near ? number + 1 : 0};
  packing::IndexRecord record{.pixel_hash = cskd::runtime::content_hash(std::as_bytes(std::span(name))),
                              .phash = is_near ? look.phash ^ 0x8000'0000'0001'0001 : look.phash,
                              .key_hash = number,
                              .stored_size = 50'000};
  record.thumbnail.fill(static_cast<std::uint8_t>(look.level));
  return record;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double most_resident_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 3) {
      fmt::print(stderr, "usage: duplicates_benchmark FOLDER PICTURES [THREADS]\n");
      return 2;
    }
    cskd::runtime::World world(&argc, &argv);
    world.set_timeout(std::chrono::hours(10));
    const std::filesystem::path folder = argv[1];
    const std::uint64_t pictures = std::strtoull(argv[2], nullptr, 10);
    const int threads = argc > 3 ? std::atoi(argv[3]) : 2;
    if (world.rank() == 0) {
      std::filesystem::create_directory(folder);
      cskd::runtime::RecordWriter<packing::IndexRecord> writer(folder / "index");
      for (std::uint64_t number = 0; number < pictures; ++number) writer.add(record_of(number));
      writer.close();
    }
    world.barrier();
    const packing::SampleIndex index({folder / "index"});
    const double before = most_resident_mib();
    auto start = std::chrono::steady_clock::now();
    const packing::DropList drops = packing::find_drops(index, {.threads = threads}, world, folder);
    const double finding = seconds_since(start);
    if (world.rank() == 0) {
      start = std::chrono::steady_clock::now();
      packing::write_packing_order(index, drops, kSeed, 256ULL << 20, folder / "order");
      const auto cuts = packing::cut_into_shards(packing::PackingOrder(folder / "order"), {});
      fmt::print(
          "{{\"pictures\": {}, \"ranks\": {}, \"threads\": {}, \"seconds_of_comparing\": {:.1f}, "
          "\"seconds_of_ordering\": {:.1f}, \"lost\": {}, \"copies\": {}, \"shards\": {}, \"resident_before_mib\": "
          "{:.0f}, \"peak_resident_mib\": {:.0f}}}\n",
          pictures, world.size(), threads, finding, seconds_since(start), drops.size(), 2 * (pictures / kEvery),
          cuts.size(), before, most_resident_mib());
      std::filesystem::remove_all(folder);
    }
    world.barrier();
  } catch (const std::exception& error) {
    fmt::print(stderr, "duplicates_benchmark: {}\n", error.what());
    return 1;
  }
  return 0;
}
