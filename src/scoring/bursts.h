// Shots of the same moment among photos, and the best of each group.
//
// Note [Bursts]
// Two photos are shots of one burst when their perceptual hashes are within kBurstDistance bits and their thumbnails
// within kBurstDifference levels: wider than for near duplicates (data/perceptual_hash.h), since the camera moved a
// little and people a little more, and narrower than two photos of one place are. Bursts are what such pairs connect,
// so that a slow pan is one. The best is the one with the highest score; scores that differ by less than kTie of the
// scale say nothing, and the sharpest of those is the best.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/image.h"
#include "data/perceptual_hash.h"

namespace cskd::scoring {

inline constexpr int kBurstDistance = 10;    // bits of 64
inline constexpr int kBurstDifference = 12;  // levels of 255, mean over the pixels of thumbnails
inline constexpr double kTie = 0.01;         // of the scale's range

// What grouping needs to know of a photo.
struct Shot {
  data::Appearance appearance;
  double sharpness = 0;
  double score = 0;
};

// Variance of the Laplacian of luma (4-neighbours; Pech-Pacheco et al., "Diatom autofocusing in brightfield
// microscopy", ICPR 2000). Pictures of one size compare. 0 for pictures of fewer than 3 pixels a side.
double sharpness_of(const data::Image& image);

struct BurstPlace {
  std::uint32_t burst = 0;  // from 1 on, in the order of the photos; 0: the photo is alone
  std::uint32_t size = 1;   // photos of the burst
  bool is_best = true;
};

// Of each shot. `scale`: the range of scores.
std::vector<BurstPlace> find_bursts(std::span<const Shot> shots, double scale, int threads);

}  // namespace cskd::scoring
