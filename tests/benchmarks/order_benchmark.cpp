// What the order of samples costs, in nanoseconds a sample: batches of 16, as a micro-batch asks for them, in sequence,
// over corpora of shards of 10,000 pictures in two sources. One JSON line for each size.
//   order_benchmark [SIZE...]
//   order_benchmark --uses WINDOW WEIGHT EPOCHS SIZE...
//                                                   prints "position group block sample" for each use of these epochs
//                                                   of a corpus; block sizes of the groups, as 4x100+1x37 for four of
//                                                   100 and one of 37
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "data/sample_order.h"
#include "data/sampler.h"

namespace {

using cskd::data::SampleGroup;
using cskd::data::SampleOrder;

constexpr std::uint64_t kBlock = 10'000;
constexpr std::uint64_t kMicroBatch = 16;

SampleGroup shards_of(std::uint64_t samples) {
  SampleGroup group;
  for (std::uint64_t first = 0; first < samples; first += kBlock)
    group.blocks.push_back(std::min(kBlock, samples - first));
  return group;
}

void measure(std::uint64_t size) {
  const auto start = std::chrono::steady_clock::now();
  const SampleOrder order(1, cskd::data::kStreamAlignOrder, {shards_of(size / 4), shards_of(size - size / 4)});
  std::uint64_t sum = order.at(0, 1).front().sample;
  const std::chrono::duration<double, std::milli> first = std::chrono::steady_clock::now() - start;
  constexpr std::uint64_t kSamples = 8'000'000;
  const auto measured = std::chrono::steady_clock::now();
  for (std::uint64_t position = 0; position < kSamples; position += kMicroBatch) {
    for (const auto& use : order.at(position, kMicroBatch)) sum += use.sample;
  }
  const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - measured;
  fmt::print(
      "{{\"samples\": {}, \"nanoseconds_a_sample\": {:.1f}, \"milliseconds_to_the_first\": {:.2f}, \"sum\": {}}}\n",
      size, time.count() / kSamples, first.count(), sum % 1000);
  std::fflush(stdout);
}

// "4x100+1x37": four blocks of 100, and one of 37.
SampleGroup group_of(std::string_view text, double weight) {
  SampleGroup group{.weight = weight, .blocks = {}};
  while (!text.empty()) {
    const std::string part(text.substr(0, text.find('+')));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const std::uint64_t size = std::strtoull(part.c_str() + part.find('x') + 1, nullptr, 10);
    group.blocks.insert(group.blocks.end(), std::strtoull(part.c_str(), nullptr, 10), size);
  }
  return group;
}

void print_uses(std::uint64_t window, double weight, std::uint64_t epochs, const std::vector<std::string>& blocks) {
  std::vector<SampleGroup> groups;
  std::vector<std::pair<std::size_t, std::size_t>> places;  // of each sample: group, block
  for (const std::string& text : blocks) {
    groups.push_back(group_of(text, groups.empty() ? 1 : weight));
    for (std::size_t block = 0; block < groups.back().blocks.size(); ++block)
      places.insert(places.end(), groups.back().blocks[block], {groups.size() - 1, block});
  }
  const SampleOrder order(1, cskd::data::kStreamAlignOrder, groups, window);
  std::uint64_t position = 0;
  for (const auto& use : order.at(0, epochs * order.size())) {
    const auto& [group, block] = places[use.sample];
    fmt::print("{} {} {} {}\n", position++, group, block, use.sample);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() > 4 && arguments[0] == "--uses") {
    print_uses(std::strtoull(arguments[1].c_str(), nullptr, 10), std::strtod(arguments[2].c_str(), nullptr),
               std::strtoull(arguments[3].c_str(), nullptr, 10), {arguments.begin() + 4, arguments.end()});
    return 0;
  }
  std::vector<std::uint64_t> sizes;
  for (const std::string& text : arguments) sizes.push_back(std::strtoull(text.c_str(), nullptr, 10));
  if (sizes.empty()) sizes = {10'000, 1'000'000, 100'000'000, 1'000'000'000};
  for (const std::uint64_t size : sizes) measure(size);
  return 0;
}
