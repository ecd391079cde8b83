#include "training/capsule.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::training {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kCapsuleFile = "capsule.json";
constexpr const char* kConfigurationFile = "config.toml";
constexpr std::uint64_t kLargestText = 64 << 20;
constexpr int kCapsuleFormat = 1;

Json json_of(const std::vector<std::pair<std::string, std::string>>& figures) {
  Json json = Json::object();
  for (const auto& [name, value] : figures) json[name] = value;
  return json;
}

Json json_of(const Capsule& capsule) {
  Json results = Json::object();
  for (const auto& [stage, folder] : capsule.origin.results) results[stage] = folder.native();
  Json parts = Json::array();
  for (const Capsule::MicroBatch& part : capsule.micro_batches) {
    parts.push_back({{"number", part.number},
                     {"rank", part.rank},
                     {"loss", part.loss},
                     {"figures", json_of(part.figures)},
                     {"pictures", part.pictures}});
  }
  return {{"format", kCapsuleFormat},
          {"stage", capsule.stage},
          {"step", capsule.step},
          {"reason", capsule.reason},
          {"loss", capsule.loss},
          {"gradient_norm", capsule.gradient_norm},
          {"threads", capsule.threads},
          {"hosts", capsule.hosts},
          {"communicator", capsule.communicator},
          {"precision", models::name_of(capsule.origin.settings.precision)},
          {"memory_format", models::name_of(capsule.origin.settings.memory_format)},
          {"results", results},
          {"micro_batches", parts}};
}

template <typename Value>
Value required(const std::optional<Value>& value, const char* what) {
  if (!value) throw runtime::DataError(fmt::format("its {} is unknown", what));
  return *value;
}

Capsule capsule_of(const Json& json) {
  if (const int format = json.at("format").get<int>(); format != kCapsuleFormat)
    throw runtime::DataError(fmt::format("its format is {}, this program reads {}", format, kCapsuleFormat));
  Capsule capsule;
  capsule.stage = json.at("stage").get<std::string>();
  capsule.step = json.at("step").get<std::uint64_t>();
  capsule.reason = json.at("reason").get<std::string>();
  capsule.loss = json.at("loss").get<std::string>();
  capsule.gradient_norm = json.at("gradient_norm").get<std::string>();
  capsule.threads = json.at("threads").get<int>();
  capsule.hosts = json.at("hosts").get<std::vector<std::string>>();
  capsule.communicator = json.at("communicator").get<std::string>();
  capsule.origin.settings = {
      required(models::precision_named(json.at("precision").get<std::string>()), "precision"),
      required(models::memory_format_named(json.at("memory_format").get<std::string>()), "memory_format")};
  for (const auto& [stage, folder] : json.at("results").items())
    capsule.origin.results[stage] = folder.get<std::string>();
  for (const Json& part : json.at("micro_batches")) {
    Capsule::MicroBatch& micro_batch = capsule.micro_batches.emplace_back();
    micro_batch.number = part.at("number").get<std::uint64_t>();
    micro_batch.rank = part.at("rank").get<int>();
    micro_batch.loss = part.at("loss").get<std::string>();
    for (const auto& [name, value] : part.at("figures").items())
      micro_batch.figures.emplace_back(name, value.get<std::string>());
    micro_batch.pictures = part.at("pictures").get<std::string>();
    const bool is_rank = micro_batch.rank >= 0 && static_cast<std::size_t>(micro_batch.rank) < capsule.hosts.size();
    if (!is_rank || micro_batch.number + 1 != capsule.micro_batches.size())
      throw runtime::DataError(fmt::format("micro-batch {} is not what it can be", capsule.micro_batches.size() - 1));
  }
  const bool is_whole = capsule.step > 0 && capsule.threads > 0 && !capsule.micro_batches.empty();
  if (!is_whole) throw runtime::DataError("its step, threads or micro-batches are none");
  return capsule;
}

// Of this rank's micro-batches, as JSON for rank 0.
std::string told(const std::vector<MicroBatchResult>& own, const data::BatchLayout& layout) {
  Json parts = Json::array();
  for (std::size_t i = 0; i < own.size(); ++i) {
    std::vector<std::pair<std::string, std::string>> figures;
    for (const auto& [name, figure] : own[i].figures) figures.emplace_back(name, exact_text(figure.item<float>()));
    parts.push_back({{"number", layout.first() + i},
                     {"loss", exact_text(own[i].loss.item<float>())},
                     {"figures", json_of(figures)},
                     {"pictures", own[i].samples_text()}});
  }
  return parts.dump();
}

}  // namespace

std::string exact_text(float value) { return fmt::format("{}", value); }

std::filesystem::path checkpoints_of_capsule(const std::filesystem::path& folder) { return folder / "before"; }

Capsule read_capsule(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kCapsuleFile;
  try {
    Capsule capsule = capsule_of(Json::parse(runtime::read_text_file(path, kLargestText)));
    capsule.origin.configuration = runtime::read_text_file(folder / kConfigurationFile, kLargestText);
    return capsule;
  } catch (const nlohmann::json::exception& error) {
    throw runtime::DataError(fmt::format("{} is no capsule of a step, or damaged: {}", path.native(), error.what()));
  } catch (const runtime::DataError& error) {
    throw runtime::DataError(fmt::format("{} is no capsule of a step, or damaged: {}", path.native(), error.what()));
  }
}

void warn_of_what_is_not_finite(const std::string& stage, std::uint64_t step, const data::BatchLayout& layout,
                                const std::vector<MicroBatchResult>& own) {
  const auto is_finite = [](const at::Tensor& scalar) { return std::isfinite(scalar.item<double>()); };
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (is_finite(own[i].loss) &&
        std::ranges::all_of(own[i].figures, [&](const auto& figure) { return is_finite(figure.second); }))
      continue;
    spdlog::warn("{}: step {}, micro-batch {} on rank {} is not finite: {}", stage, step, layout.first() + i,
                 layout.rank, own[i].samples_text());
  }
}

CapsuleKeeper::CapsuleKeeper(const std::filesystem::path& folder, std::string stage, const CapsuleOrigin& origin,
                             const data::BatchLayout& layout, runtime::World& world,
                             distributed::Communicator& communicator)
    : folder_(folder / "capsules"),
      stage_(std::move(stage)),
      origin_(origin),
      layout_(layout),
      world_(world),
      communicator_(communicator) {
  int there = 0;
  if (world.rank() == 0 && std::filesystem::is_directory(folder_)) {
    for (const auto& item : std::filesystem::directory_iterator(folder_))
      there += std::filesystem::exists(item.path() / kCapsuleFile) ? 1 : 0;
  }
  kept_ = std::stoi(world.broadcast(std::to_string(there)));
}

std::optional<std::string> CapsuleKeeper::reason(double loss, double gradient_norm) {
  if (!std::isfinite(loss) || !std::isfinite(gradient_norm)) {
    if (kept_ >= kMostCapsules) return std::nullopt;
    return fmt::format("its loss is {}, its gradient norm {}", loss, gradient_norm);
  }
  const bool diverges = usual_steps_ >= kStepsUntilUsual && loss > kDiverging * usual_;
  const double usual = usual_;
  ++usual_steps_;
  usual_ += (loss - usual_) / static_cast<double>(std::min(usual_steps_, kStepsUntilUsual));
  if (!diverges || kept_ >= kMostCapsules) return std::nullopt;
  return fmt::format("its loss is {:.3g}, that of the {} steps before it was {:.3g}", loss, kStepsUntilUsual, usual);
}

void CapsuleKeeper::keep(const std::string& reason, std::uint64_t step, double loss, double gradient_norm,
                         const std::vector<MicroBatchResult>& own, const std::function<CheckpointContents()>& before) {
  ++kept_;
  const std::vector<std::string> parts = world_.all_gather(told(own, layout_));
  const std::vector<std::string> hosts = world_.all_gather(world_.host());
  if (world_.rank() != 0) return;
  Capsule capsule{.stage = stage_,
                  .reason = reason,
                  .step = step,
                  .loss = exact_text(static_cast<float>(loss)),
                  .gradient_norm = exact_text(static_cast<float>(gradient_norm)),
                  .threads = at::get_num_threads(),
                  .hosts = hosts,
                  .communicator = communicator_.name(),
                  .origin = origin_,
                  .micro_batches = {}};
  Json document = json_of(capsule);
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    for (Json& part : Json::parse(parts[rank])) {
      part["rank"] = rank;
      document["micro_batches"].push_back(std::move(part));
    }
  }
  const std::filesystem::path folder = folder_ / fmt::format("step-{:09}", step);
  try {
    std::filesystem::create_directories(checkpoints_of_capsule(folder));
    runtime::write_file_atomically(folder / kConfigurationFile, origin_.configuration);
    write_checkpoint(checkpoints_of_capsule(folder), before());
    runtime::write_file_atomically(folder / kCapsuleFile, document.dump(2) + "\n");
    spdlog::warn("{}: step {} was kept, because {}: find out why by 'cskd replay {}'", stage_, step, reason,
                 folder.native());
  } catch (const std::exception& error) {
    spdlog::warn("{}: step {}, which was to be kept because {}, could not be written: {}", stage_, step, reason,
                 error.what());
  }
}

}  // namespace cskd::training
