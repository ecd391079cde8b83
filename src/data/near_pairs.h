// All pairs of 64-bit hashes that differ in at most `distance` bits, without comparing all with all.
//
// Note [Near pairs]
// The 64 bits are cut into b blocks. Two hashes within `distance` bits differ in at most `distance` blocks and agree
// wholly in at least k = b - distance (pigeonhole principle; Manku, Jain and Das Sarma, "Detecting Near-Duplicates for
// Web Crawling", WWW 2007; Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", CVPR
// 2012). So for every choice of k blocks only hashes that are equal there are compared.
//
// The choices share their work: they are the leaves of a tree whose edges take one agreeing block after the other, in
// rising order. A node's bucket holds the hashes that are equal in all blocks on its way from the root; an edge spreads
// it over the values of one more block, as a radix sort does. A pair belongs on the one way that takes its lowest
// agreeing blocks and is dropped elsewhere, so that it is found once. It follows that a bucket need not be looked at
// where all its hashes agree in a block that the way has left out, and that a bucket which is small already can be
// compared at once, above the leaves; one that stays large, as in sets far from uniform, is cut as far as it can be.
//
// C(distance + t, t) ways lead to depth t, and every hash lies on each. With uniform hashes, n_t to a bucket (n_0 = n),
// v values to a block and buckets compared at depth T <= k, the work is about
//   sum over t = 1..T of C(distance + t, t) * (n * spread + n / n_(t-1) * v * per_bucket)
//   + C(distance + T, T) * n * n_T / 2 * comparison
// near_blocks() takes the b for which that is least: more blocks make the ways more and longer, but the buckets
// smaller.
#pragma once

#include <cstdint>
#include <span>

#include "data/near_pairs_loops.h"

namespace cskd::data {

constexpr int kLargestNearDistance = 12;

struct NearSearch {
  int distance = 0;
  int threads = 1;
  // A search can be dealt out over `slices` callers, such as ranks, that all have the same hashes: together they find
  // every pair, each once. Of every choice of two lowest agreeing blocks a slice takes every slices-th value.
  std::uint32_t slice = 0;
  std::uint32_t slices = 1;
};

// Calls `take` once for every pair, in no certain order, from any of the threads but never from two at a time. What
// `take` throws comes out of here, after the other threads have ended what they were at.
//
// Equal hashes are pairs too: m of them make m * (m - 1) / 2. Where such groups are large, pass each hash once.
//
// Memory beside the hashes: 12 bytes for each, and 24 * threads bytes for each of the largest bucket that one block
// makes (of uniform hashes about a hundredth of them, at worst all).
//
// REQUIRES: hashes.size() < 2^32; 0 <= distance <= kLargestNearDistance; threads >= 1; slice < slices
void find_near_pairs(std::span<const std::uint64_t> hashes, const NearSearch& search, const TakePair& take);

// b of the note: a function of these two alone, so that all slices cut alike. At least distance + 2.
int near_blocks(std::uint64_t hashes, int distance);

}  // namespace cskd::data
