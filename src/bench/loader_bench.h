// A benchmark of the loader as training uses it, without a network behind it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/resize.h"

namespace cskd::bench {

// What is done with each sample.
enum class LoaderWork : std::uint8_t {
  kViews,  // read, checked, decoded, resized: everything
  kBytes,  // read and checked
  kOrder,  // known by its number
};

enum class LoaderView : std::uint8_t { kCrop, kWhole, kWeak, kStrong };  // of data/view.h

struct LoaderOptions {
  std::filesystem::path folder;  // of a manifest, or a run folder
  int threads = 1;
  std::uint64_t batch = 64;
  int size = 224;  // pixels a side
  LoaderView view = LoaderView::kCrop;
  double min_area = 0.08;  // of kCrop
  data::ResizeMode resize = data::ResizeMode::kExact;
  LoaderWork work = LoaderWork::kViews;
  std::uint64_t epochs = 3;
  std::uint64_t seed = 1;
  std::uint64_t prefetch_bytes = 256ULL << 20;
};

struct LoaderEpoch {
  double seconds = 0;
  std::uint64_t images = 0;
  std::uint64_t resident_bytes = 0;  // when the last batch was there
};

struct LoaderFigures {
  std::uint64_t images = 0;         // of an epoch
  std::uint64_t encoded_bytes = 0;  // of their pictures
  std::uint64_t damaged = 0;        // uses that were replaced
  bool is_complete = false;         // a hash of the samples of every epoch says that it gave each of them once
  std::vector<LoaderEpoch> epochs;

  // Median over the epochs after the first, which finds caches cold; of the only one when there is one.
  double images_per_second() const;
};

// Loads `epochs` times all samples of the corpus, whatever their splits and weights. Throws as data::Corpus and
// data::DamageLog (with 0.1 %), UsageError when there is no sample. REQUIRES: threads, batch, size, epochs >= 1
LoaderFigures run_loader_bench(const LoaderOptions& options);

std::string to_text(const LoaderOptions& options, const LoaderFigures& figures);
// {"threads", "batch", "size", "view", "resize", "work", "images", "encoded_bytes", "damaged", "is_complete", "epochs":
// [{"seconds", "images", "images_per_second", "resident_bytes"}], "images_per_second"}
std::string to_json(const LoaderOptions& options, const LoaderFigures& figures);

}  // namespace cskd::bench
