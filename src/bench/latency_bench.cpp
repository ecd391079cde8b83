#include "bench/latency_bench.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

#include "bench/resident_memory.h"
#include "scoring/scorer.h"

namespace cskd::bench {
namespace {

Times timed(int repeats, const std::function<void()>& work) {
  for (int i = 0; i < std::max(3, repeats / 10); ++i) work();
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::ranges::sort(seconds);
  const auto at = [&](double share) {
    return seconds[static_cast<std::size_t>(share * static_cast<double>(seconds.size() - 1) + 0.5)];
  };
  return {.median = at(0.5), .p95 = at(0.95), .least = seconds.front()};
}

nlohmann::ordered_json json_of(const Times& times) {
  return {{"median", times.median}, {"p95", times.p95}, {"least", times.least}};
}

std::string milliseconds(const Times& times) {
  return fmt::format("{:>9.2f} {:>9.2f} {:>9.2f}", 1000 * times.median, 1000 * times.p95, 1000 * times.least);
}

}  // namespace

LatencyFigures run_latency_bench(const LatencyOptions& options) {
  scoring::Scorer scorer(options.model);
  at::set_num_threads(options.threads);
  LatencyFigures figures{.model = scorer.name(),
                         .encoder = scorer.encoder(),
                         .engine = scorer.engine(),
                         .image_size = scorer.image_size(),
                         .parameters = scorer.parameters(),
                         .multiplications = scorer.multiplications(),
                         .batches = {},
                         .preprocessing = {}};
  for (const int images : options.batches) {
    const at::Tensor pixels = torch::randint(256, {images, scorer.image_size(), scorer.image_size(), 3}, torch::kByte);
    figures.batches.push_back(
        {.images = images, .network = timed(options.repeats, [&] { scorer.distributions(pixels); })});
  }
  if (!options.photo.empty()) {
    const scoring::Photo photo{.name = options.photo.native(), .file = options.photo.native(), .fault = {}};
    figures.preprocessing = timed(options.repeats, [&] { scorer.pixels(photo, data::ResizeMode::kFast); });
  }
  figures.peak_bytes = peak_resident_bytes();
  return figures;
}

std::string to_text(const LatencyOptions& options, const LatencyFigures& figures) {
  std::string text = fmt::format(
      "{}: {} at {} pixels, {:.2f} million parameters, {:.1f} million multiplications, {} thread{}, peak memory {:.0f} "
      "MB, computed by {}\n\n"
      "  {:<24} {:>9} {:>9} {:>9} {:>10}\n",
      figures.model, figures.encoder, figures.image_size, static_cast<double>(figures.parameters) * 1e-6,
      figures.multiplications * 1e-6, options.threads, options.threads == 1 ? "" : "s",
      static_cast<double>(figures.peak_bytes) * 1e-6, figures.engine, "milliseconds", "median", "p95", "least",
      "photos/s");
  for (const LatencyFigures::OfBatch& batch : figures.batches) {
    text += fmt::format("  {:<24} {} {:>10.1f}\n", fmt::format("network, batch of {}", batch.images),
                        milliseconds(batch.network), batch.images / batch.network.median);
  }
  if (!options.photo.empty())
    text += fmt::format("  {:<24} {} {:>10.1f}\n", "read, decode, resize", milliseconds(figures.preprocessing),
                        1 / figures.preprocessing.median);
  return text;
}

std::string to_json(const LatencyOptions& options, const LatencyFigures& figures) {
  nlohmann::ordered_json batches = nlohmann::ordered_json::array();
  for (const LatencyFigures::OfBatch& batch : figures.batches)
    batches.push_back({{"images", batch.images}, {"seconds", json_of(batch.network)}});
  nlohmann::ordered_json document{{"model", figures.model},
                                  {"encoder", figures.encoder},
                                  {"engine", figures.engine},
                                  {"image_size", figures.image_size},
                                  {"threads", options.threads},
                                  {"parameters", figures.parameters},
                                  {"multiplications", figures.multiplications},
                                  {"peak_bytes", figures.peak_bytes},
                                  {"batches", batches}};
  if (!options.photo.empty()) document["preprocessing_seconds"] = json_of(figures.preprocessing);
  return document.dump(2);
}

}  // namespace cskd::bench
