#include "demo/corpus_list.h"

#include <atomic>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "runtime/error.h"

namespace cskd::demo {
namespace {

constexpr const char* kFormat = "cskd demo corpus";
constexpr int kFormatVersion = 1;

std::string read_whole(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw runtime::Error(fmt::format("cannot open {}", path.native()));
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool is_same(const ListedFile& file, const std::filesystem::path& folder) {
  std::error_code error;
  const std::filesystem::path path = folder / file.path;
  if (std::filesystem::file_size(path, error) != file.size || error) return false;
  return xxh3_of(read_whole(path)) == file.xxh3;
}

}  // namespace

std::string xxh3_of(const std::string& bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string to_json(const CorpusList& list, const CorpusPlan& plan) {
  nlohmann::ordered_json root;
  root["format"] = kFormat;
  root["version"] = kFormatVersion;
  root["generator_version"] = list.generator_version;
  root["images"] = list.images;
  root["seed"] = list.seed;
  for (const SourcePlan& source : plan.sources) {
    root["sources"].push_back({{"name", source.name},
                               {"kind", source.kind},
                               {"path", source.name},
                               {"images", source.images},
                               {"description", source.description}});
  }
  // One line a file: a line break before each entry keeps the page readable and comparable.
  std::string text = root.dump(2);
  text.resize(text.size() - 2);  // without "\n}"
  text += ",\n  \"files\": [";
  for (size_t i = 0; i < list.files.size(); ++i) {
    const nlohmann::ordered_json entry = {
        {"path", list.files[i].path}, {"size", list.files[i].size}, {"xxh3", list.files[i].xxh3}};
    text += (i == 0 ? "\n    " : ",\n    ") + entry.dump();
  }
  return text + "\n  ]\n}\n";
}

CorpusList read_corpus_list(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "corpus.json";
  const std::string text = read_whole(path);
  try {
    const nlohmann::json root = nlohmann::json::parse(text);
    if (root.at("format") != kFormat || root.at("version") != kFormatVersion) {
      throw runtime::Error(fmt::format("{} is of another format or version", path.native()));
    }
    CorpusList list;
    list.images = root.at("images");
    list.seed = root.at("seed");
    list.generator_version = root.at("generator_version");
    for (const nlohmann::json& entry : root.at("files"))
      list.files.push_back({entry.at("path"), entry.at("size"), entry.at("xxh3")});
    return list;
  } catch (const nlohmann::json::exception&) {
    runtime::rethrow_with_context(fmt::format("{} is not the list of a demo corpus", path.native()));
  }
}

std::string first_difference(const CorpusList& list, const std::filesystem::path& folder, int threads) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  size_t first = list.files.size();
  const auto work = [&] {
    for (size_t i = next++; i < list.files.size(); i = next++) {
      if (is_same(list.files[i], folder)) continue;
      const std::lock_guard lock(mutex);
      first = std::min(first, i);
      return;
    }
  };
  std::vector<std::jthread> pool;
  for (int t = 1; t < threads; ++t) pool.emplace_back(work);
  work();
  pool.clear();
  return first == list.files.size() ? "" : list.files[first].path;
}

std::string planted_to_json(const CorpusPlan& plan) {
  nlohmann::ordered_json root = nlohmann::ordered_json::array();
  for (const Planted& planted : plan.planted) {
    root.push_back(
        {{"kind", planted.kind},
         {"path", planted.path},
         {"original", planted.original.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(planted.original)},
         {"note", planted.note}});
  }
  return root.dump(1) + "\n";
}

}  // namespace cskd::demo
