// corpus.json: what a demo corpus holds, written last, so that a folder with it is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "demo/corpus_plan.h"

namespace cskd::demo {

// Raise it with any change that changes a byte of any file.
constexpr int kGeneratorVersion = 2;

struct ListedFile {
  std::string path;
  std::uint64_t size = 0;
  std::string xxh3;  // XXH3-128 of the contents, 32 hexadecimal digits
};

struct CorpusList {
  std::int64_t images = 0;
  std::uint64_t seed = 0;
  int generator_version = kGeneratorVersion;
  std::vector<ListedFile> files;  // sorted by path
};

std::string xxh3_of(const std::string& bytes);

// The text of corpus.json: the list, and the plan's sources for people.
std::string to_json(const CorpusList& list, const CorpusPlan& plan);

// Reads <folder>/corpus.json. Throws Error when there is none or it is not one of this format.
CorpusList read_corpus_list(const std::filesystem::path& folder);

// Path of the first listed file that is missing or different on disk, empty when there is none. Uses `threads` threads.
std::string first_difference(const CorpusList& list, const std::filesystem::path& folder, int threads);

// planted.json.
std::string planted_to_json(const CorpusPlan& plan);

}  // namespace cskd::demo
