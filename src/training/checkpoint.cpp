#include "training/checkpoint.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <future>
#include <set>
#include <string_view>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "models/safetensors.h"
#include "runtime/atomic_file.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/free_space.h"
#include "runtime/input_file.h"
#include "runtime/sealed_file.h"
#include "runtime/shared_files.h"
#include "runtime/unix_time.h"

namespace cskd::training {
namespace {

constexpr const char* kCheckpointFormat = "cskd-checkpoint";
constexpr int kVersion = 2;
constexpr const char* kStateMagic = "CSKDSTAT";
constexpr std::uint32_t kStateVersion = 2;
constexpr std::string_view kPrefix = "step-";
constexpr const char* kCommit = "commit.json";
constexpr std::array<const char*, 4> kFiles{"model.safetensors", "ema.safetensors", "optimizer.safetensors",
                                            "state.pb"};
constexpr std::uint64_t kLargestCommit = 1 << 20;

std::string folder_name(std::uint64_t step) { return fmt::format("{}{:09}", kPrefix, step); }

std::optional<std::uint64_t> step_of(const std::filesystem::path& path) {
  const std::string name = path.filename().native();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::uint64_t step = 0;
  const char* end = name.data() + name.size();
  const auto [after, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (error != std::errc() || after != end) return std::nullopt;
  return step;
}

nlohmann::json read_commit(const std::filesystem::path& checkpoint) {
  return nlohmann::json::parse(runtime::read_text_file(checkpoint / kCommit, kLargestCommit), nullptr, false);
}

// A number of the record; 0 where there is none.
template <typename Number>
Number number_in(const nlohmann::json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_number() ? found->get<Number>() : Number{0};
}

std::string text_in(const nlohmann::json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

nlohmann::json table_in(const nlohmann::json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_object() ? *found : nlohmann::json::object();
}

CheckpointInfo info_of(std::uint64_t step, const std::filesystem::path& path) {
  CheckpointInfo info{.step = step, .path = path, .is_committed = std::filesystem::exists(path / kCommit)};
  if (!info.is_committed) return info;
  const nlohmann::json commit = read_commit(path);
  info.time = number_in<double>(commit, "time");
  const nlohmann::json validation = table_in(commit, "validation");
  for (const auto& [name, value] : validation.items()) {
    if (value.is_number()) info.validation[name] = value.get<double>();
  }
  const nlohmann::json files = table_in(commit, "files");
  for (const auto& [name, file] : files.items()) info.bytes += number_in<std::uint64_t>(file, "size");
  return info;
}

std::uint64_t bytes_of(const CheckpointContents& contents) {
  std::uint64_t bytes = 0;
  for (const NamedTensors* tensors : {&contents.model, &contents.average, &contents.optimizer}) {
    for (const auto& [name, tensor] : *tensors) bytes += tensor.nbytes();
  }
  return bytes;
}

void require_finite_weights(const std::filesystem::path& checkpoint, const CheckpointContents& contents) {
  for (const NamedTensors* tensors : {&contents.model, &contents.average}) {
    for (const auto& [name, tensor] : *tensors) {
      if (models::is_finite(tensor)) continue;
      throw runtime::Error(
          fmt::format("after step {} the weights in '{}' are not finite, and {} was not written: lower "
                      "training.learning_rate and go on from the checkpoint before",
                      contents.state.step(), name, checkpoint.native()));
    }
  }
}

void write_files(const std::filesystem::path& checkpoint, const CheckpointContents& contents,
                 const std::function<void()>& before_commit) {
  require_finite_weights(checkpoint, contents);
  runtime::require_free_space(checkpoint, bytes_of(contents), "a checkpoint");
  const std::map<std::string, std::string> metadata(contents.metadata.begin(), contents.metadata.end());
  nlohmann::ordered_json commit{{"format", kCheckpointFormat},
                                {"version", kVersion},
                                {"step", contents.state.step()},
                                {"time", runtime::unix_time()},
                                {"validation", nlohmann::ordered_json::object()}};
  for (const auto& [name, value] : contents.state.validation()) {
    if (contents.state.validated() == contents.state.step()) commit["validation"][name] = value;
  }
  const auto record = [&](const char* name, const runtime::FileFacts& facts) {
    commit["files"][name] = {{"size", facts.size}, {"xxh3", facts.hash.hex()}};
  };
  // The optimiser's state is as large as the other two: both halves at once.
  auto optimizer = std::async(std::launch::async, [&] {
    runtime::failure_point("checkpoint.optimizer", checkpoint.native());
    return models::write_safetensors(checkpoint / kFiles[2], contents.optimizer, {});
  });
  runtime::failure_point("checkpoint.model", checkpoint.native());
  record(kFiles[0], models::write_safetensors(checkpoint / kFiles[0], contents.model, metadata));
  runtime::failure_point("checkpoint.ema", checkpoint.native());
  record(kFiles[1], models::write_safetensors(checkpoint / kFiles[1], contents.average, metadata));
  record(kFiles[2], optimizer.get());
  runtime::failure_point("checkpoint.state", checkpoint.native());
  record(kFiles[3], runtime::write_sealed_file(checkpoint / kFiles[3], kStateMagic, kStateVersion,
                                               contents.state.SerializeAsString()));
  if (before_commit) before_commit();
  // The folder's name is there before its contents count.
  runtime::sync_folder(checkpoint.parent_path());
  runtime::failure_point("checkpoint.commit", checkpoint.native());
  runtime::write_file_atomically(checkpoint / kCommit, commit.dump(2) + "\n");
}

}  // namespace

NamedTensors stored_memory(Objective& objective) {
  NamedTensors memory = objective.memory();
  for (auto& [name, tensor] : memory) name = "memory." + name;
  return memory;
}

void write_checkpoint(const std::filesystem::path& folder, const CheckpointContents& contents,
                      const std::function<void()>& before_commit) {
  const std::filesystem::path checkpoint = folder / folder_name(contents.state.step());
  try {
    if (std::filesystem::exists(checkpoint)) remove_checkpoint(checkpoint);
    std::filesystem::create_directories(checkpoint);
    write_files(checkpoint, contents, before_commit);
  } catch (const std::exception&) {
    // Room for what else has to be written.
    runtime::remove_leftover(checkpoint, "the part of a checkpoint");
    runtime::rethrow_with_context(
        fmt::format("cannot write the checkpoint {}; the ones before it are untouched", checkpoint.native()));
  }
}

std::vector<CheckpointInfo> list_checkpoints(const std::filesystem::path& folder) {
  std::vector<CheckpointInfo> checkpoints;
  if (!std::filesystem::is_directory(folder)) return checkpoints;
  for (const auto& item : std::filesystem::directory_iterator(folder)) {
    if (const auto step = step_of(item.path())) checkpoints.push_back(info_of(*step, item.path()));
  }
  std::ranges::sort(checkpoints, std::greater<>(), &CheckpointInfo::step);
  return checkpoints;
}

void check_checkpoint(const std::filesystem::path& checkpoint) {
  const std::filesystem::path record = checkpoint / kCommit;
  if (!std::filesystem::exists(record)) {
    throw runtime::DataError(fmt::format("{} is missing: the writer was stopped", record.native()));
  }
  const nlohmann::json commit = read_commit(checkpoint);
  if (text_in(commit, "format") != kCheckpointFormat)
    throw runtime::DataError(fmt::format("{} is damaged", record.native()));
  if (const auto version = number_in<std::int64_t>(commit, "version"); version != kVersion) {
    throw runtime::DataError(fmt::format("{} has version {}, this cskd reads version {}: use the cskd that wrote it",
                                         record.native(), version, kVersion));
  }
  const nlohmann::json files = table_in(commit, "files");
  for (const char* name : kFiles) {
    const std::filesystem::path path = checkpoint / name;
    if (!std::filesystem::exists(path)) throw runtime::DataError(fmt::format("{} is missing", path.native()));
    const nlohmann::json entry = table_in(files, name);
    const runtime::InputFile file(path);
    const std::string hash = runtime::content_hash(file).hex();
    if (number_in<std::uint64_t>(entry, "size") != file.size() || text_in(entry, "xxh3") != hash) {
      throw runtime::DataError(fmt::format("{} has {} bytes with XXH3 {}, not what its commit record says",
                                           path.native(), file.size(), hash));
    }
  }
}

std::optional<std::uint64_t> newest_checkpoint(const std::filesystem::path& folder) {
  std::string newest_reason;
  for (const CheckpointInfo& info : list_checkpoints(folder)) {
    try {
      check_checkpoint(info.path);
      return info.step;
    } catch (const std::exception& error) {
      const std::string reason = runtime::messages(error).back();
      spdlog::warn("checkpoint {} is skipped: {}", info.path.native(), reason);
      if (info.is_committed && newest_reason.empty()) newest_reason = reason;
    }
  }
  if (newest_reason.empty()) return std::nullopt;
  throw runtime::DataError(
      fmt::format("{} holds checkpoints, but none that is whole ({}). To train from the start, "
                  "remove the folder",
                  folder.native(), newest_reason));
}

State read_checkpoint_state(const std::filesystem::path& checkpoint) {
  const std::filesystem::path path = checkpoint / kFiles[3];
  State state;
  if (!state.ParseFromString(runtime::read_sealed_file(path, kStateMagic, kStateVersion)) ||
      step_of(checkpoint) != state.step()) {
    throw runtime::DataError(fmt::format("{} is damaged", path.native()));
  }
  return state;
}

LoadedCheckpoint read_checkpoint(const std::filesystem::path& folder, std::uint64_t step) {
  const std::filesystem::path checkpoint = folder / folder_name(step);
  for (const char* file : kFiles) runtime::wait_until_there(checkpoint / file);
  return {.model = models::read_safetensors(checkpoint / kFiles[0]),
          .average = models::read_safetensors(checkpoint / kFiles[1]),
          .optimizer = models::read_safetensors(checkpoint / kFiles[2]),
          .state = read_checkpoint_state(checkpoint)};
}

std::vector<std::uint64_t> superfluous(const std::vector<CheckpointInfo>& checkpoints, const Retention& retention,
                                       std::uint64_t written) {
  std::vector<const CheckpointInfo*> newest_first;
  for (const CheckpointInfo& info : checkpoints) {
    if (info.step <= written) newest_first.push_back(&info);
  }
  std::ranges::sort(newest_first, std::greater<>(), &CheckpointInfo::step);
  std::set<std::uint64_t> kept;
  std::vector<std::pair<double, std::uint64_t>> judged;
  for (std::size_t i = 0; i < newest_first.size(); ++i) {
    const CheckpointInfo& info = *newest_first[i];
    if (i < retention.newest || (retention.every > 0 && info.step % retention.every == 0)) kept.insert(info.step);
    const auto figure = info.validation.find(retention.best_by);
    if (figure != info.validation.end())
      judged.emplace_back(retention.highest_is_best ? figure->second : -figure->second, info.step);
  }
  std::ranges::sort(judged, std::greater<>());
  for (std::size_t i = 0; i < std::min<std::size_t>(judged.size(), retention.best); ++i) kept.insert(judged[i].second);
  std::vector<std::uint64_t> going;
  for (const CheckpointInfo* info : newest_first) {
    if (!kept.contains(info->step)) going.push_back(info->step);
  }
  return going;
}

void remove_checkpoint(const std::filesystem::path& checkpoint) {
  // Without its commit record a half-removed one is not mistaken for a whole one.
  runtime::remove_leftover(checkpoint / kCommit, "the record of the old checkpoint");
  runtime::failure_point("checkpoint.remove", checkpoint.native());
  runtime::remove_leftover(checkpoint, "the old checkpoint");
}

void set_aside_later_checkpoints(const std::filesystem::path& folder, std::uint64_t step) {
  for (const CheckpointInfo& info : list_checkpoints(folder)) {
    if (info.step <= step || !info.is_committed) continue;
    const std::filesystem::path aside = folder / ("damaged-" + info.path.filename().native());
    std::error_code error;
    if (std::filesystem::exists(aside, error)) runtime::remove_leftover(aside, "the damaged checkpoint");
    std::filesystem::rename(info.path, aside, error);
    if (error) {
      spdlog::warn("{} is damaged, and cannot be renamed: {}", info.path.native(), error.message());
    } else {
      spdlog::warn("{} is damaged: it was renamed to {}, and may be removed", info.path.native(),
                   aside.filename().native());
    }
  }
}

void remove_unfinished_checkpoints(const std::filesystem::path& folder) {
  for (const CheckpointInfo& info : list_checkpoints(folder)) {
    if (!info.is_committed) runtime::remove_leftover(info.path, "the unfinished checkpoint");
  }
}

}  // namespace cskd::training
