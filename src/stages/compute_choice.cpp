#include "stages/compute_choice.h"

#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "training/task_probe.h"

namespace cskd::stages {
namespace {

using models::ComputeSettings;
using models::MemoryFormat;
using models::Precision;
using Json = nlohmann::ordered_json;

// What a measurement belongs to.
Json to_json(const training::ModelSubject& subject, const run::Context& context) {
  return {{"encoder", subject.encoder},
          {"image_size", subject.image_size},
          {"batch", subject.batch},
          {"trains_encoder", subject.trains_encoder},
          {"communicator", context.communicator.name()}};
}

// The choice of an earlier start; nullopt: none, or of another subject.
std::optional<ComputeSettings> recorded(const std::filesystem::path& path, const Json& subject) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  const Json json = Json::parse(file, nullptr, false);
  const Json chosen = json.is_object() ? json.value("chosen", Json()) : Json();
  const auto word = [&chosen](const char* key) {
    const Json value = chosen.is_object() ? chosen.value(key, Json()) : Json();
    return value.is_string() ? value.get<std::string>() : std::string();
  };
  const auto precision = models::precision_named(word("precision"));
  const auto format = models::memory_format_named(word("memory_format"));
  if (precision && format) {
    return json.value("subject", Json()) == subject ? std::optional(ComputeSettings{*precision, *format})
                                                    : std::nullopt;
  }
  throw runtime::DataError(fmt::format("{} is damaged: remove it, and the next start measures again", path.native()));
}

void record(const std::filesystem::path& path, const Json& subject, const training::ProbeResult& result) {
  const Json file{{"subject", subject},
                  {"chosen",
                   {{"precision", models::name_of(result.chosen.precision)},
                    {"memory_format", models::name_of(result.chosen.memory_format)}}},
                  {"cases", training::to_json(result.cases)}};
  runtime::write_file_atomically(path, file.dump(2) + "\n");
}

std::string cases_text(const std::vector<training::ProbeCase>& cases) {
  std::string text;
  for (const training::ProbeCase& each : cases) {
    text +=
        fmt::format("{}{} {:.0f} ms", text.empty() ? "" : "; ", models::to_text(each.settings), 1000 * each.seconds);
  }
  return text;
}

}  // namespace

ComputeSettings choose_compute(const run::Context& context, const training::Task& task,
                               const training::ModelSubject& model) {
  const config::Compute& compute = context.config.compute();
  training::GivenSettings given;
  if (compute.precision() != config::Compute::auto_)
    given.precision = models::precision_named(config::Compute::Precision_Name(compute.precision()));
  if (compute.memory_format() != config::auto_)
    given.memory_format = models::memory_format_named(config::MemoryFormat_Name(compute.memory_format()));
  if (const auto settings = given.all()) return *settings;

  const std::filesystem::path path = context.folder.stage(task.name) / "compute.json";
  const Json subject = to_json(model, context);
  // Rank 0 alone reads, and tells: "fp32 channels_last", or nothing.
  std::string found;
  if (context.world.rank() == 0) {
    if (const auto settings = recorded(path, subject)) {
      found = fmt::format("{} {}", models::name_of(given.precision.value_or(settings->precision)),
                          models::name_of(given.memory_format.value_or(settings->memory_format)));
    }
  }
  found = context.world.broadcast(found);
  if (const std::size_t space = found.find(' '); space != std::string::npos) {
    return {*models::precision_named(found.substr(0, space)), *models::memory_format_named(found.substr(space + 1))};
  }
  context.communicator.journal().enter("start-up probe");
  const training::ProbeResult result = training::probe_task(task, given, context.communicator);
  if (context.world.rank() == 0) {
    spdlog::info("{} computes with {}, the fastest here ({})", task.name, models::to_text(result.chosen),
                 cases_text(result.cases));
    record(path, subject, result);
  }
  return result.chosen;
}

}  // namespace cskd::stages
