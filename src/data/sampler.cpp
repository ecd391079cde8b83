#include "data/sampler.h"

#include <string>

#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::data {

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

void require_batch(const SampleOrder& order, const std::string& key, std::uint64_t batch) {
  if (batch <= order.size()) return;
  throw runtime::UsageError(
      fmt::format("{} is {}, but an epoch of its pictures has {}: lower it, add pictures, or raise labels.fraction or "
                  "sources.weight",
                  key, batch, order.size()));
}

}  // namespace cskd::data
