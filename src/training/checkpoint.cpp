#include "training/checkpoint.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
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
#include "runtime/input_file.h"
#include "runtime/sealed_file.h"

namespace cskd::training {
namespace {

constexpr const char* kFormat = "cskd-checkpoint";
constexpr int kVersion = 1;
constexpr const char* kStateMagic = "CSKDSTAT";
constexpr std::uint32_t kStateVersion = 1;
constexpr std::string_view kPrefix = "step-";
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

// Steps of all checkpoints, whole or not, newest first.
std::vector<std::uint64_t> steps_in(const std::filesystem::path& folder) {
  std::vector<std::uint64_t> steps;
  if (!std::filesystem::is_directory(folder)) return steps;
  for (const auto& item : std::filesystem::directory_iterator(folder)) {
    if (const auto step = step_of(item.path())) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

struct FileFacts {
  std::uint64_t size = 0;
  std::string hash;
};

FileFacts facts_of(const std::filesystem::path& path) {
  const runtime::InputFile file(path);
  return {file.size(), runtime::content_hash(file).hex()};
}

// Throws DataError unless the commit record and all files agree.
void check(const std::filesystem::path& checkpoint) {
  const std::filesystem::path record = checkpoint / "commit.json";
  if (!std::filesystem::exists(record)) {
    throw runtime::DataError(fmt::format("{} is not there: the writer was stopped", record.native()));
  }
  const nlohmann::json commit = nlohmann::json::parse(runtime::read_text_file(record, kLargestCommit), nullptr, false);
  if (!commit.is_object() || commit.value("format", "") != kFormat || !commit.contains("files") ||
      !commit["files"].is_object()) {
    throw runtime::DataError(fmt::format("{} is damaged", record.native()));
  }
  if (commit.value("version", 0) != kVersion) {
    throw runtime::DataError(fmt::format("{} has another version than {}", record.native(), kVersion));
  }
  for (const char* name : kFiles) {
    const std::filesystem::path path = checkpoint / name;
    if (!std::filesystem::exists(path)) throw runtime::DataError(fmt::format("{} is not there", path.native()));
    const nlohmann::json& entry = commit["files"].value(name, nlohmann::json::object());
    const FileFacts found = facts_of(path);
    if (!entry.is_object() || entry.value("size", std::uint64_t{0}) != found.size ||
        entry.value("xxh3", "") != found.hash) {
      throw runtime::DataError(fmt::format("{} has {} bytes with XXH3 {}, not what its commit record says",
                                           path.native(), found.size, found.hash));
    }
  }
}

void remove_checkpoint(const std::filesystem::path& checkpoint) {
  // Without its commit record a half-removed one is not mistaken for a whole one.
  std::filesystem::remove(checkpoint / "commit.json");
  runtime::failure_point("checkpoint.remove", checkpoint.native());
  std::filesystem::remove_all(checkpoint);
}

}  // namespace

void write_checkpoint(const std::filesystem::path& folder, const CheckpointContents& contents) {
  const std::filesystem::path checkpoint = folder / folder_name(contents.state.step());
  try {
    if (std::filesystem::exists(checkpoint)) remove_checkpoint(checkpoint);
    std::filesystem::create_directories(checkpoint);
    const std::map<std::string, std::string> metadata(contents.metadata.begin(), contents.metadata.end());
    runtime::failure_point("checkpoint.model", checkpoint.native());
    models::write_safetensors(checkpoint / kFiles[0], contents.model, metadata);
    runtime::failure_point("checkpoint.ema", checkpoint.native());
    models::write_safetensors(checkpoint / kFiles[1], contents.average, metadata);
    runtime::failure_point("checkpoint.optimizer", checkpoint.native());
    models::write_safetensors(checkpoint / kFiles[2], contents.optimizer, {});
    runtime::failure_point("checkpoint.state", checkpoint.native());
    runtime::write_sealed_file(checkpoint / kFiles[3], kStateMagic, kStateVersion, contents.state.SerializeAsString());
    nlohmann::ordered_json commit{{"format", kFormat}, {"version", kVersion}, {"step", contents.state.step()}};
    for (const char* name : kFiles) {
      const FileFacts facts = facts_of(checkpoint / name);
      commit["files"][name] = {{"size", facts.size}, {"xxh3", facts.hash}};
    }
    runtime::failure_point("checkpoint.commit", checkpoint.native());
    runtime::write_file_atomically(checkpoint / "commit.json", commit.dump(2) + "\n");
    runtime::sync_folder(folder);
  } catch (const std::exception&) {
    runtime::rethrow_with_context(
        fmt::format("cannot write the checkpoint {}; the ones before it are untouched", checkpoint.native()));
  }
}

CheckpointWriter::CheckpointWriter(std::filesystem::path folder, std::uint32_t keep, runtime::Trace* trace)
    : folder_(std::move(folder)), keep_(keep), trace_(trace) {}

CheckpointWriter::~CheckpointWriter() {
  try {
    finish();
  } catch (const std::exception& error) {
    spdlog::error("{}", runtime::describe(error, 0, 1));
  }
}

void CheckpointWriter::start(const CheckpointContents& contents) {
  finish();
  CheckpointContents copy = contents;
  for (NamedTensors* tensors : {&copy.model, &copy.average, &copy.optimizer}) {
    for (auto& [name, tensor] : *tensors) tensor = tensor.detach().to(at::kCPU, tensor.scalar_type(), false, true);
  }
  running_ = std::async(std::launch::async, [folder = folder_, keep = keep_, trace = trace_, copy = std::move(copy)] {
    const auto start = std::chrono::steady_clock::now();
    write_checkpoint(folder, copy);
    if (trace != nullptr)
      trace->add("checkpoint", folder_name(copy.state.step()), start, std::chrono::steady_clock::now());
    const std::vector<std::uint64_t> steps = steps_in(folder);
    for (size_t i = keep; i < steps.size(); ++i) remove_checkpoint(folder / folder_name(steps[i]));
  });
}

void CheckpointWriter::finish() {
  if (running_.valid()) running_.get();
}

std::optional<std::uint64_t> newest_checkpoint(const std::filesystem::path& folder) {
  for (const std::uint64_t step : steps_in(folder)) {
    try {
      check(folder / folder_name(step));
      return step;
    } catch (const std::exception& error) {
      spdlog::warn("checkpoint {} is passed over: {}", (folder / folder_name(step)).native(),
                   runtime::messages(error).back());
    }
  }
  return std::nullopt;
}

LoadedCheckpoint read_checkpoint(const std::filesystem::path& folder, std::uint64_t step) {
  const std::filesystem::path checkpoint = folder / folder_name(step);
  LoadedCheckpoint loaded;
  loaded.model = models::read_safetensors(checkpoint / kFiles[0]);
  loaded.average = models::read_safetensors(checkpoint / kFiles[1]);
  loaded.optimizer = models::read_safetensors(checkpoint / kFiles[2]);
  const std::filesystem::path state = checkpoint / kFiles[3];
  if (!loaded.state.ParseFromString(runtime::read_sealed_file(state, kStateMagic, kStateVersion)) ||
      loaded.state.step() != step) {
    throw runtime::DataError(fmt::format("{} is damaged", state.native()));
  }
  return loaded;
}

void remove_unfinished_checkpoints(const std::filesystem::path& folder) {
  for (const std::uint64_t step : steps_in(folder)) {
    const std::filesystem::path checkpoint = folder / folder_name(step);
    if (!std::filesystem::exists(checkpoint / "commit.json")) std::filesystem::remove_all(checkpoint);
  }
}

}  // namespace cskd::training
