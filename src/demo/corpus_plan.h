// The plan of a demo corpus, file by file, before anything is rendered. Pure: the same on every rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "demo/recipe.h"

namespace cskd::demo {

struct SourcePlan {
  std::string name;  // also its folder
  std::string kind;  // "folder", "webdataset" or "ava", as in a configuration
  std::string description;
  Style style;
  std::int64_t images = 0;  // without what is planted
};

struct TarMember {
  std::string name;
  Recipe recipe;
};

// A file to write: one image or, with members, a tar of many.
struct FilePlan {
  std::string path;  // below the corpus folder
  Recipe recipe;
  std::vector<TarMember> members;
};

// A fault or duplicate that is there on purpose; planted.json lists them.
struct Planted {
  std::string kind;
  std::string path;
  std::string original;  // path of the file that it repeats, may be empty
  std::string note;      // e.g. the orientation
};

struct RatedImage {
  std::int64_t id = 0;
  std::uint64_t item = 0;
  bool is_test = false;
  int challenge = 0;
};

struct CorpusPlan {
  std::vector<SourcePlan> sources;  // the last is the rated one
  std::vector<FilePlan> files;      // tars first: they take longest
  std::vector<Planted> planted;
  std::vector<RatedImage> rated;  // in the order of AVA.txt
};

constexpr std::int64_t kFewestImages = 60;
constexpr std::int64_t kMostImages = 1'000'000;

// A plan for `images` rendered images, a fifth of them rated; what is planted comes on top. REQUIRES: kFewestImages <=
// images
CorpusPlan plan_corpus(std::int64_t images);

}  // namespace cskd::demo
