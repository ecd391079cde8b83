// One page with all photos that were scored: thumbnails, sorted, filtered, looked through by keys.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/atomic_file.h"
#include "scoring/scorer.h"

namespace cskd::scoring {

// Writes a self-contained HTML file: no network, no other file; light or dark as the reader's system is, from 390
// pixels on. Photos are streamed: memory does not grow with their number. Names are bytes of strangers, and only ever
// shown as text.
class Gallery {
 public:
  // Throws Error when the file cannot be written. It appears when finish() is called.
  Gallery(const std::filesystem::path& file, const std::string& model, const std::vector<double>& bin_centres);

  // The photo has a thumbnail. Those with an error are only counted.
  void add(const ScoredPhoto& photo);
  // `places`: in bursts, of the photos that are shown, in their order; empty: bursts were not looked for.
  void finish(const std::vector<BurstPlace>& places = {});

 private:
  struct Page {
    std::string model;
    std::vector<double> bin_centres;
  };

  runtime::AtomicFile file_;
  Page page_;
  int failed_ = 0;
};

}  // namespace cskd::scoring
