#include "data/sampler.h"

#include <optional>

#include <fmt/format.h>

#include "data/permutation.h"
#include "runtime/error.h"

namespace cskd::data {

std::uint64_t SampleOrder::operator()(std::uint64_t position) const { return at(position, 1).front(); }

std::vector<std::uint64_t> SampleOrder::at(std::uint64_t position, std::uint64_t count) const {
  std::vector<std::uint64_t> samples;
  samples.reserve(count);
  std::optional<Permutation> order;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t place = (position + i) % size_;
    if (!order || place == 0) order.emplace(seed_, stream_, epoch(position + i), size_);
    samples.push_back((*order)(place));
  }
  return samples;
}

BatchLayout make_batch_layout(const char* table, std::uint64_t global_batch, std::uint64_t micro_batches, int rank,
                              int ranks) {
  const auto size = static_cast<std::uint64_t>(ranks);
  if (global_batch % micro_batches != 0) {
    throw runtime::UsageError(fmt::format("{}.global_batch is {}, which its {} micro-batches do not divide", table,
                                          global_batch, micro_batches));
  }
  if (micro_batches % size != 0) {
    std::string fitting;
    for (std::uint64_t count = 1; count <= micro_batches; ++count) {
      if (micro_batches % count == 0) fitting += fmt::format("{}{}", fitting.empty() ? "" : ", ", count);
    }
    throw runtime::UsageError(
        fmt::format("{}.micro_batches is {}, which {} ranks do not divide; start {} ranks, or change it", table,
                    micro_batches, ranks, fitting));
  }
  return {global_batch, micro_batches, static_cast<std::uint64_t>(rank), size};
}

}  // namespace cskd::data
