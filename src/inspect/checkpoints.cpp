#include "inspect/checkpoints.h"

#include <algorithm>
#include <ctime>
#include <optional>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/safetensors.h"
#include "runtime/error.h"
#include "runtime/free_space.h"
#include "training/checkpoint.h"

namespace cskd::inspect {
namespace {

using Json = nlohmann::ordered_json;

struct Inspected {
  training::CheckpointInfo info;
  std::string fault;  // empty: whole
  std::optional<training::State> state;
  std::size_t tensors = 0;
  std::int64_t parameters = 0;  // numbers in the model's tensors
};

std::string fault_of(const std::filesystem::path& checkpoint) {
  try {
    training::check_checkpoint(checkpoint);
    return "";
  } catch (const runtime::Error& error) {
    return runtime::messages(error).back();
  }
}

Inspected look_at(const training::CheckpointInfo& info) {
  Inspected inspected{.info = info, .fault = fault_of(info.path)};
  if (!inspected.fault.empty()) return inspected;
  inspected.state = training::read_checkpoint_state(info.path);
  for (const auto& [name, tensor] : models::read_safetensors_header(info.path / "model.safetensors").tensors) {
    ++inspected.tensors;
    std::int64_t numbers = 1;
    for (const std::int64_t size : tensor.shape) numbers *= size;
    inspected.parameters += numbers;
  }
  return inspected;
}

std::string time_text(double time) {
  if (time <= 0) return "unknown";
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(static_cast<std::time_t>(time)));
}

std::string validation_text(const std::map<std::string, double>& validation) {
  std::string text;
  for (const auto& [name, value] : validation)
    text += fmt::format("{}{} {:.4f}", text.empty() ? "" : ", ", name, value);
  return text;
}

std::string table(const std::vector<Inspected>& all) {
  std::string text = fmt::format("{:>12}  {:<24}{:>10}  {}\n", "step", "written", "size", "state");
  for (const Inspected& each : all) {
    const std::string validation = validation_text(each.info.validation);
    text += fmt::format("{:>12}  {:<24}{:>10}  {}{}{}\n", each.info.step, time_text(each.info.time),
                        runtime::format_bytes(each.info.bytes),
                        each.fault.empty() ? "whole" : (each.info.is_committed ? "damaged" : "partial"),
                        validation.empty() ? "" : "   ", validation);
  }
  for (const Inspected& each : all) {
    if (!each.fault.empty()) text += fmt::format("\n{}", each.fault);
  }
  return text;
}

std::string details(const Inspected& each) {
  const training::State& state = *each.state;
  std::string text = fmt::format(
      "\n  model          {} tensors, {} numbers\n  images         {} in {:.1f} s\n  loss           {:.6g}\n"
      "  left out       {} steps\n  buckets        {}\n\n  made with\n",
      each.tensors, each.parameters, state.images(), state.seconds(), state.loss(), state.skipped(),
      state.buckets_size());
  const std::map<std::string, std::string> inputs(state.inputs().begin(), state.inputs().end());
  for (const auto& [name, value] : inputs) text += fmt::format("    {} = {}\n", name, value);
  return text;
}

Json to_json(const Inspected& each) {
  Json document{{"step", each.info.step},
                {"path", each.info.path.native()},
                {"time", each.info.time},
                {"bytes", each.info.bytes},
                {"whole", each.fault.empty()},
                {"fault", each.fault},
                {"validation", each.info.validation}};
  if (!each.state) return document;
  document["tensors"] = each.tensors;
  document["numbers"] = each.parameters;
  document["images"] = each.state->images();
  document["seconds"] = each.state->seconds();
  document["loss"] = each.state->loss();
  document["skipped"] = each.state->skipped();
  document["inputs"] = std::map<std::string, std::string>(each.state->inputs().begin(), each.state->inputs().end());
  return document;
}

}  // namespace

std::vector<std::filesystem::path> find_checkpoints(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> found;
  const std::filesystem::path folder =
      std::filesystem::is_directory(path / "checkpoints") ? path / "checkpoints" : path;
  for (const training::CheckpointInfo& info : training::list_checkpoints(folder)) found.push_back(info.path);
  if (!found.empty()) return found;
  for (const training::CheckpointInfo& info :
       training::list_checkpoints(std::filesystem::absolute(path).lexically_normal().parent_path())) {
    if (std::filesystem::exists(path) && std::filesystem::equivalent(info.path, path)) found.push_back(info.path);
  }
  return found;
}

CheckpointReport report_on(const std::vector<std::filesystem::path>& checkpoints, bool json) {
  std::vector<Inspected> all;
  for (const training::CheckpointInfo& info : training::list_checkpoints(checkpoints.front().parent_path())) {
    if (std::ranges::find(checkpoints, info.path) != checkpoints.end()) all.push_back(look_at(info));
  }
  CheckpointReport report;
  if (json) {
    Json document = Json::array();
    for (const Inspected& each : all) document.push_back(to_json(each));
    report.text = document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  } else {
    report.text = fmt::format("{}\n\n{}", checkpoints.front().parent_path().native(), table(all));
    if (all.size() == 1 && all.front().state) report.text += details(all.front());
  }
  report.are_whole = std::ranges::all_of(all, [](const Inspected& each) { return each.fault.empty(); });
  return report;
}

}  // namespace cskd::inspect
