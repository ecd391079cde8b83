#include "batches/batches.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::batches {

namespace {

std::shared_ptr<data::Staging> staging_of(const config::Data& data) {
  if (data.stage_to().empty()) return nullptr;
  return std::make_shared<data::Staging>(data.stage_to(), static_cast<std::uint64_t>(data.stage_size() * 0x1p30));
}

}  // namespace

CheckedCorpus::CheckedCorpus(const run::Context& context)
    : corpus_(context.folder.shards(), staging_of(context.config.data())),
      damage_(context.config.data().max_damaged()),
      source_(corpus_, context.config.run().seed(), damage_) {}

std::string samples_text(const data::Corpus& corpus, const std::vector<data::SampleRef>& samples) {
  constexpr std::size_t kMostNamed = 16;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(samples.size(), kMostNamed); ++i)
    names.push_back(
        fmt::format("{} row {}", corpus.manifest().shards(static_cast<int>(samples[i].shard)).file(), samples[i].row));
  if (samples.size() > kMostNamed) names.push_back(fmt::format("{} more", samples.size() - kMostNamed));
  return fmt::format("{}", fmt::join(names, ", "));
}

data::ResizeMode resize_mode(const config::Config& config) {
  return config.data().resize() == config::fast ? data::ResizeMode::kFast : data::ResizeMode::kExact;
}

std::uint64_t pixel_bytes(std::uint64_t pictures, int side) {
  return 3 * pictures * static_cast<std::uint64_t>(side) * static_cast<std::uint64_t>(side);
}

at::Tensor pixel_room(std::uint64_t pictures, int side, const at::Device& device) {
  return at::empty({static_cast<std::int64_t>(pictures), side, side, 3},
                   at::TensorOptions(at::kByte).pinned_memory(device.is_cuda()));
}

std::span<std::uint8_t> picture_in(const at::Tensor& pixels, std::uint64_t i) {
  CSKD_CHECK(i < static_cast<std::uint64_t>(pixels.size(0)), "picture {} of {}", i, pixels.size(0));
  const std::uint64_t size = pixel_bytes(1, static_cast<int>(pixels.size(1)));
  return {pixels.data_ptr<std::uint8_t>() + size * i, size};
}

at::Tensor to_device(const at::Tensor& tensor, const at::Device& device) {
  return tensor.to(device, tensor.scalar_type(), /*non_blocking=*/true);
}

std::span<float> row_of(const at::Tensor& matrix, std::uint64_t i) {
  CSKD_CHECK(i < static_cast<std::uint64_t>(matrix.size(0)), "row {} of {}", i, matrix.size(0));
  const auto width = static_cast<std::size_t>(matrix.size(1));
  return {matrix.data_ptr<float>() + width * i, width};
}

std::vector<double> common_scale(const std::vector<RatedScale>& scales) {
  if (scales.empty()) throw runtime::UsageError("no source has labels: scores cannot be learnt");
  const auto told = [](const RatedScale& scale) {
    return fmt::format("source '{}' rates from {} to {} in {} bins", scale.source, scale.bin_centres.front(),
                       scale.bin_centres.back(), scale.bin_centres.size());
  };
  for (const RatedScale& scale : scales) {
    if (scale.bin_centres == scales.front().bin_centres) continue;
    throw runtime::UsageError(
        fmt::format("{}, but {}: map both to one scale with the key mapped_bins of their [[sources]]",
                    told(scales.front()), told(scale)));
  }
  return {scales.front().bin_centres.begin(), scales.front().bin_centres.end()};
}

std::vector<double> bin_centres(const data::Corpus& corpus) {
  std::vector<RatedScale> scales;
  for (const shards::Manifest::Source& source : corpus.manifest().sources()) {
    if (source.bin_centres_size() > 0)
      scales.push_back({source.name(), {source.bin_centres().begin(), source.bin_centres().end()}});
  }
  return common_scale(scales);
}

}  // namespace cskd::batches
