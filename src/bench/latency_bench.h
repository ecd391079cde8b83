// The time of a model for one photo, and for many: preprocessing and network apart.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cskd::bench {

struct LatencyOptions {
  std::filesystem::path model;  // of an export
  std::vector<int> batches{1, 16};
  int threads = 1;
  int repeats = 100;            // of each batch, after a tenth as many to warm up
  std::filesystem::path photo;  // whose preprocessing is measured; empty: not measured
};

// Seconds.
struct Times {
  double median = 0, p95 = 0, least = 0;
};

struct LatencyFigures {
  struct OfBatch {
    int images = 0;
    Times network;  // of the whole batch: from uint8 pixels to scores
  };
  std::string model, encoder, engine;
  int image_size = 0;
  std::int64_t parameters = 0;
  double multiplications = 0;    // multiply-accumulate operations of convolutions and matrix products, one image
  std::uint64_t peak_bytes = 0;  // resident memory of the process
  std::vector<OfBatch> batches;
  Times preprocessing;  // of the photo: read, decode, resize; zeros where it was not measured
};

// Throws as scoring::Scorer, and DataError for a photo that cannot be read.
LatencyFigures run_latency_bench(const LatencyOptions& options);

std::string to_text(const LatencyOptions& options, const LatencyFigures& figures);
std::string to_json(const LatencyOptions& options, const LatencyFigures& figures);

}  // namespace cskd::bench
