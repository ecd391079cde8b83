#include "report/complete_stages.h"

#include <algorithm>
#include <optional>
#include <system_error>
#include <tuple>
#include <utility>

#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::report {
namespace {

constexpr std::uint64_t kLargestRecord = 1 << 20;
constexpr std::size_t kMostStages = 64;

std::optional<CompleteStage> read_record(const std::filesystem::path& path) {
  try {
    const auto record = nlohmann::json::parse(runtime::read_text_file(path, kLargestRecord));
    CompleteStage stage{record.at("stage").get<std::string>(), record.at("seconds").get<double>(),
                        record.at("images").get<std::uint64_t>()};
    return stage;
  } catch (const runtime::Error&) {
    return std::nullopt;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

std::vector<CompleteStage> complete_stages(const std::filesystem::path& run) {
  std::vector<std::pair<std::filesystem::file_time_type, CompleteStage>> found;
  // <run>/shards, <run>/align/student. Links are not followed: they could lead anywhere.
  constexpr int kDepth = 2;
  std::error_code failure;
  for (std::filesystem::recursive_directory_iterator entry(run, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    std::error_code none;
    if (entry.depth() + 1 == kDepth || !entry->is_directory(none)) entry.disable_recursion_pending();
    const std::filesystem::path path = entry->path() / "complete.json";
    const auto time = std::filesystem::last_write_time(path, none);
    if (none || found.size() == kMostStages) continue;
    entry.disable_recursion_pending();  // a stage's folder may hold many files
    if (auto stage = read_record(path)) found.emplace_back(time, std::move(*stage));
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second.stage) < std::tie(b.first, b.second.stage);
  });
  std::vector<CompleteStage> stages;
  stages.reserve(found.size());
  for (auto& [time, stage] : found) stages.push_back(std::move(stage));
  return stages;
}

}  // namespace cskd::report
