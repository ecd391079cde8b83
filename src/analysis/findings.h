// The findings of an analysis, as its files and its page tell them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "metrics/metrics.h"

namespace cskd::analysis {

// Of one head (or of the affinity of tokens): means over pictures, and standard deviations between them.
struct HeadFigures {
  double distance = 0;  // in units of the grid's diagonal, 0 to 1
  double distance_std = 0;
  double distance_pixels = 0;  // of the encoder's input
  double entropy = 0;          // nats
  double entropy_std = 0;
  double entropy_share = 0;  // of the most that it can be, 0 to 1
};

struct LayerFigures {
  int layer = 0;  // from 0, among those that have attention
  int grid = 0;   // patches a side
  std::vector<HeadFigures> heads;
  double head_similarity = 0;     // NaN with one head
  std::vector<double> histogram;  // share of the attention in each bin of distance, mean over heads
};

// The affinity of spatial tokens, pooled to a common grid.
struct AffinityFigures {
  int grid = 0;
  HeadFigures figures;
  std::vector<double> histogram;
};

struct CollapseFigures {
  double rank_me = 0;
  double direction_std = 0;
  double uniformity = 0;
  std::vector<double> singular_values;  // falling, of all features
  std::map<std::string, double> cka;    // with each tower
};

// How well scores follow from frozen features, where a share of the training labels is known.
struct ProbeFigures {
  double fraction = 1;
  std::uint64_t labels = 0;
  std::string reason;  // why there are no figures; empty: there are
  double alpha = 0;    // the penalty that cross-validation chose
  metrics::Estimate linear_srcc, neighbour_srcc;
  double linear_plcc = 0;
  std::uint64_t neighbours = 0;
};

// Over a shown picture, a number for each patch: the attention that it receives, 1 where all receive the same.
struct ShownMap {
  std::string what;  // "layer 1", "affinity"
  int grid = 0;
  std::vector<std::vector<float>> pictures;  // [grid * grid] each
};

struct ModelFindings {
  std::string name;     // "align.student"
  std::string encoder;  // "mobilenetv3_small_100"
  int image_size = 0;
  int width = 0;  // of pooled features
  int grid = 0;   // of spatial tokens
  bool is_trained = true;
  std::vector<LayerFigures> layers;
  std::string no_attention;  // why there are none; empty: there are
  std::optional<AffinityFigures> affinity;
  std::string no_affinity;
  CollapseFigures collapse;
  std::vector<ProbeFigures> probes;
  std::vector<ShownMap> maps;
};

struct ShownPicture {
  std::string key;  // "<source>/<key>": any bytes
  std::string jpeg;
};

struct Findings {
  std::string split;
  std::uint64_t wanted = 0, found = 0, unreadable = 0;  // pictures; measured are found - unreadable
  std::uint64_t seed = 0;
  std::string probe_split;
  std::uint64_t probe_pictures = 0;  // that probes are judged on
  std::string no_probes;             // why there are none; empty: there are
  std::vector<ModelFindings> models;
  std::vector<ShownPicture> shown;

  std::uint64_t measured() const { return found - unreadable; }
};

// analysis.json and analysis.csv, as docs/analysis.md tells.
std::string to_json(const Findings& findings);
std::string to_csv(const Findings& findings);

// A table for people from the text of analysis.json. `origin` names it in the DataError that a damaged one throws.
std::string table_of(const std::string& json, const std::string& origin);

}  // namespace cskd::analysis
