#include "run/run_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "runtime/shared_files.h"

namespace cskd::run {
namespace {

constexpr std::uint64_t kLargestRecord = 1 << 20;
constexpr const char* kProductList = "products.txt";

std::filesystem::path record_path(const std::filesystem::path& stage_folder) { return stage_folder / "complete.json"; }

// Of a file that any rank may have written.
std::string hash_of_file(const std::filesystem::path& path) {
  runtime::wait_until_there(path);
  return runtime::content_hash(runtime::InputFile(path)).hex();
}

// What a file looks like from outside: it is read again where this differs.
struct FileStamp {
  std::uint64_t bytes = 0;
  std::int64_t changed = 0;  // ns

  bool operator==(const FileStamp&) const = default;
};

FileStamp stamp_of(const std::filesystem::path& path) {
  struct stat found{};
  if (stat(path.c_str(), &found) != 0)
    runtime::throw_system_error(fmt::format("cannot look at {}", path.native()), errno);
  return {static_cast<std::uint64_t>(found.st_size),
          std::int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec};
}

std::string file_list(const std::filesystem::path& stage_folder, const std::vector<HashedFile>& files) {
  std::string text;
  for (const auto& [file, hash] : files) {
    runtime::wait_until_there(stage_folder / file);
    const FileStamp stamp = stamp_of(stage_folder / file);
    text += fmt::format("{}  {}  {}  {}\n", hash, stamp.bytes, stamp.changed, file.native());
  }
  return text;
}

// False, after a line in the log, when a file is missing or damaged.
bool listed_files_are_whole(const std::filesystem::path& stage_folder) {
  std::ifstream list(stage_folder / kProductList);
  std::string hash;
  FileStamp stamp;
  std::string name;
  while (list >> hash >> stamp.bytes >> stamp.changed && list.ignore(2) && std::getline(list, name)) {
    const std::filesystem::path path = stage_folder / name;
    if (runtime::wait_until_there(path) && (stamp_of(path) == stamp || hash_of_file(path) == hash)) continue;
    spdlog::warn("{} is missing or damaged: its stage runs again", path.native());
    return false;
  }
  return true;
}

bool is_text_table(const nlohmann::json& record, const char* key) {
  const auto table = record.is_object() ? record.find(key) : record.end();
  return table != record.end() && table->is_object() &&
         std::all_of(table->begin(), table->end(), [](const nlohmann::json& value) { return value.is_string(); });
}

// Whether a training is to go on after its end: its number of steps was raised, and may differ.
bool is_extended(const runtime::Inputs& before, const runtime::Inputs& now, const std::set<std::string>& allowed) {
  constexpr std::string_view kSteps = ".training.steps";
  return std::ranges::any_of(allowed, [&](const std::string& name) {
    const auto was = before.values().find(name);
    const auto is = now.values().find(name);
    return name.ends_with(kSteps) && was != before.values().end() && is != now.values().end() &&
           std::strtoull(is->second.c_str(), nullptr, 10) > std::strtoull(was->second.c_str(), nullptr, 10);
  });
}

// As text, and parsed; nothing when there is none, or a damaged one (logged).
struct Record {
  std::string text;
  nlohmann::json parsed;

  runtime::Inputs inputs() const { return runtime::Inputs(parsed["inputs"].get<std::map<std::string, std::string>>()); }
};

std::optional<Record> read_record(const std::filesystem::path& stage_folder) {
  const std::filesystem::path path = record_path(stage_folder);
  if (!std::filesystem::exists(path)) return std::nullopt;
  Record record{.text = runtime::read_text_file(path, kLargestRecord)};
  record.parsed = nlohmann::json::parse(record.text, nullptr, false);
  if (is_text_table(record.parsed, "products") && is_text_table(record.parsed, "inputs")) return record;
  spdlog::warn("{} is damaged: the stage runs again", path.native());
  return std::nullopt;
}

// The record's text, or nothing when the stage has to run (again).
std::optional<std::string> valid_record(const std::filesystem::path& stage_folder, const runtime::Inputs& inputs,
                                        OtherInputs other_inputs, const std::set<std::string>& allowed) {
  const std::optional<Record> record = read_record(stage_folder);
  if (!record) return std::nullopt;
  const runtime::Inputs before = record->inputs();
  if (const std::string differing = runtime::differences(before, inputs, allowed); !differing.empty()) {
    if (other_inputs == OtherInputs::kMakeAgain) return std::nullopt;
    throw runtime::UsageError(
        fmt::format("{} was made with other settings or data: {}; restore them, choose another run.folder, remove the "
                    "folder, or keep its result with --allow-change NAME",
                    stage_folder.native(), differing));
  }
  if (is_extended(before, inputs, allowed)) {
    spdlog::info("{} is complete, but has more steps now: it continues from its last checkpoint",
                 stage_folder.native());
    return std::nullopt;
  }
  const auto is_whole = [&](const std::string& name, const std::string& hash) {
    const std::filesystem::path product = stage_folder / name;
    if (runtime::wait_until_there(product) && hash == hash_of_file(product)) return true;
    spdlog::warn("{} is missing or damaged: its stage runs again", product.native());
    return false;
  };
  for (const auto& [name, hash] : record->parsed["products"].items()) {
    if (!is_whole(name, hash.get<std::string>())) return std::nullopt;
    if (name == kProductList && !listed_files_are_whole(stage_folder)) return std::nullopt;
  }
  return record->text;
}

Completion parse(const std::string& text) {
  const nlohmann::json record = nlohmann::json::parse(text);
  Completion completion;
  completion.stage = record.value("stage", "");
  completion.seconds = record.value("seconds", 0.0);
  completion.images = record.value("images", std::uint64_t{0});
  completion.facts = record.value("facts", nlohmann::json::object()).dump();
  for (const auto& [name, hash] : record["products"].items()) completion.products.emplace_back(name);
  return completion;
}

}  // namespace

std::filesystem::path RunFolder::stage(const std::string& name) const {
  if (const auto found = elsewhere.find(name); found != elsewhere.end()) return found->second;
  if (name == "shard") return root / "shards";
  std::filesystem::path path = root;
  std::istringstream parts(name);
  for (std::string part; std::getline(parts, part, '.');) path /= part;
  return path;
}

std::vector<std::string> old_results(const std::filesystem::path& run) {
  std::vector<std::string> old;
  for (const char* kind : {"align", "finetune", "baseline", "distill"}) {
    for (const char* file : {"complete.json", "model.safetensors", "metrics.jsonl"}) {
      std::error_code error;
      if (!std::filesystem::is_regular_file(run / kind / file, error)) continue;
      old.push_back((run / kind).native());
      break;
    }
  }
  if (old.empty()) return {};
  return {
      fmt::format("{} holds results from before stages had names, which cannot be continued: remove {}, or choose "
                  "another run.folder. Packed shards are kept; so are the caches of a tower, if {}/cache/ENCODER "
                  "is renamed to {}/cache/TOWER",
                  run.native(), fmt::join(old, ", "), run.native(), run.native())};
}

void write_completion(const std::filesystem::path& stage_folder, const Completion& completion) {
  nlohmann::ordered_json record{{"stage", completion.stage},
                                {"inputs", completion.inputs.values()},
                                {"seconds", completion.seconds},
                                {"images", completion.images},
                                {"facts", nlohmann::ordered_json::parse(completion.facts)},
                                {"products", nlohmann::ordered_json::object()}};
  std::vector<std::filesystem::path> named = completion.products;
  if (!completion.files.empty()) {
    runtime::write_file_atomically(stage_folder / kProductList, file_list(stage_folder, completion.files));
    named.emplace_back(kProductList);
  }
  for (const std::filesystem::path& product : named)
    record["products"][product.native()] = hash_of_file(stage_folder / product);
  runtime::write_file_atomically(record_path(stage_folder), record.dump(2) + "\n");
}

std::optional<Completion> recorded_completion(const std::filesystem::path& stage_folder) {
  const std::optional<Record> record = read_record(stage_folder);
  if (!record) return std::nullopt;
  Completion completion = parse(record->text);
  completion.inputs = record->inputs();
  return completion;
}

std::optional<Completion> agree_on_completion(const std::filesystem::path& stage_folder, const runtime::Inputs& inputs,
                                              runtime::World& world, OtherInputs other_inputs,
                                              const std::set<std::string>& allowed) {
  std::string text;
  if (world.rank() == 0) text = valid_record(stage_folder, inputs, other_inputs, allowed).value_or("");
  text = world.broadcast(text);
  if (text.empty()) return std::nullopt;
  Completion completion = parse(text);
  completion.inputs = inputs;
  return completion;
}

void make_stage_folder(const std::filesystem::path& folder, runtime::World& world) {
  if (world.rank() == 0) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) runtime::throw_system_error(fmt::format("cannot create the folder {}", folder.native()), error.value());
  }
  world.barrier();
  if (!runtime::wait_until_there(folder)) {
    throw runtime::Error(
        fmt::format("{} does not see the folder {}, which rank 0 made: run.folder must lie on a file "
                    "system that all hosts share ('cskd doctor' looks)",
                    world.host(), folder.native()));
  }
}

}  // namespace cskd::run
