#include "doctor/report.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "doctor/rank_facts_json.h"
#include "doctor/versions.h"
#include "runtime/free_space.h"

namespace cskd::doctor {
namespace {

constexpr std::size_t kHostsWithALine = 4;
constexpr std::size_t kWidth = 100;

std::string painted(const std::string& word, Verdict verdict, bool colours) {
  if (!colours) return word;
  const char* const colour = verdict == Verdict::kFine   ? "\x1b[32m"
                             : verdict == Verdict::kSlow ? "\x1b[33m"
                                                         : "\x1b[1;31m";
  return colour + word + "\x1b[0m";
}

std::string machine_of(const RankFacts& host) {
  return fmt::format("{} ({} cores), {} memory, {}", host.cpu, host.cores_online,
                     runtime::format_bytes(host.memory_total),
                     host.accelerators.gpus.empty()
                         ? "no GPU"
                         : fmt::format("{} x {}", host.accelerators.gpus.size(), host.accelerators.gpus[0].name));
}

std::string line_of(const Ranks& host) {
  std::vector<int> numbers;
  for (const RankFacts* rank : host) numbers.push_back(rank->rank);
  const RankFacts& first = *host.front();
  return fmt::format("  {}: {} {}, {}, {} available\n", first.host, numbers.size() == 1 ? "rank" : "ranks",
                     ranges(numbers), machine_of(first), runtime::format_bytes(first.memory_available));
}

// Hosts that are alike, those of most first.
std::string hosts_in_groups(const std::vector<Ranks>& hosts) {
  std::vector<std::pair<std::string, Ranks>> groups;
  for (const Ranks& host : hosts) {
    RankFacts rounded = *host.front();
    rounded.memory_total = rounded.memory_total >> 30U << 30U;  // alike machines differ by some megabytes
    const std::string kind = fmt::format("{} each, {}", counted(host.size(), "rank"), machine_of(rounded));
    const auto known =
        std::find_if(groups.begin(), groups.end(), [&](const auto& group) { return group.first == kind; });
    if (known == groups.end()) {
      groups.emplace_back(kind, Ranks{host.front()});
    } else {
      known->second.push_back(host.front());
    }
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  std::string text;
  for (const auto& [kind, ranks] : groups)
    text += fmt::format("  {} ({}): {}\n", counted(ranks.size(), "host"), hosts_of(ranks), kind);
  return text;
}

// "fine  program, cores, ...", in lines of bounded width.
std::string fine_ones(const Checks& checks, bool colours) {
  std::vector<std::string> lines(1);
  for (const Check& check : checks) {
    if (check.verdict != Verdict::kFine) continue;
    if (!lines.back().empty() && lines.back().size() + check.name.size() > kWidth) lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : ", ") + check.name;
  }
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    text += fmt::format("  {}  {}{}\n", i == 0 ? painted("fine ", Verdict::kFine, colours) : "     ", lines[i],
                        i + 1 < lines.size() ? "," : "");
  }
  return text;
}

std::string names_of(const Checks& checks, Verdict verdict) {
  std::string names;
  for (const Check& check : checks) {
    if (check.verdict != verdict || (", " + names + ",").find(", " + check.name + ",") != std::string::npos) continue;
    names += (names.empty() ? "" : ", ") + check.name;
  }
  return names;
}

}  // namespace

std::string to_text(const Diagnosis& diagnosis, const TextOptions& options) {
  const std::vector<Ranks> hosts = by_host(diagnosis.world);
  std::string text = fmt::format(
      "cskd {}: {} on {}, {}\n\n", program_version(), counted(diagnosis.world.ranks.size(), "rank"),
      counted(hosts.size(), "host"),
      diagnosis.world.launcher == "none" ? "started without a launcher" : "started by " + diagnosis.world.launcher);
  if (diagnosis.is_complete) {
    if (hosts.size() <= kHostsWithALine) {
      for (const Ranks& host : hosts) text += line_of(host);
    } else {
      text += hosts_in_groups(hosts);
    }
    text += "\n";
  }
  if (!options.all) text += fine_ones(diagnosis.checks, options.colours);
  std::size_t width = 0;
  for (const Check& check : diagnosis.checks) {
    if (options.all || check.verdict != Verdict::kFine) width = std::max(width, check.name.size());
  }
  for (const Check& check : diagnosis.checks) {
    if (!options.all && check.verdict == Verdict::kFine) continue;
    text += fmt::format("  {}  {:<{}}  {}\n",
                        painted(fmt::format("{:<5}", to_string(check.verdict)), check.verdict, options.colours),
                        check.name, width, check.found);
    if (!check.remedy.empty()) text += fmt::format("  {:<{}}  -> {}\n", "", 7 + width, check.remedy);
  }
  const Verdict verdict = overall(diagnosis.checks);
  const std::string word = painted(verdict == Verdict::kWrong ? "no-go" : "go", verdict, options.colours);
  switch (verdict) {
    case Verdict::kFine:
      return text + fmt::format("\nverdict: {} (nothing stands in the way)", word);
    case Verdict::kSlow:
      return text +
             fmt::format("\nverdict: {}, more slowly than it could ({})", word, names_of(diagnosis.checks, verdict));
    case Verdict::kWrong:
      break;
  }
  return text + fmt::format("\nverdict: {} ({})", word, names_of(diagnosis.checks, verdict));
}

std::string to_json(const Diagnosis& diagnosis) {
  const Verdict verdict = overall(diagnosis.checks);
  nlohmann::ordered_json root;
  root["verdict"] = to_string(verdict);
  root["go"] = verdict != Verdict::kWrong;
  root["launcher"] = diagnosis.world.launcher;
  root["world_size"] = diagnosis.world.ranks.size();
  root["nodes"] = by_host(diagnosis.world).size();
  root["seconds"] = diagnosis.seconds;
  root["mpi"] = {{"latency_microseconds", diagnosis.world.mpi.latency_microseconds},
                 {"bus_gb_per_second", diagnosis.world.mpi.bus_gb_per_second},
                 {"bytes", diagnosis.world.mpi.bytes}};
  root["checks"] = nlohmann::json::array();
  for (const Check& check : diagnosis.checks) {
    root["checks"].push_back({{"name", check.name},
                              {"verdict", to_string(check.verdict)},
                              {"found", check.found},
                              {"remedy", check.remedy}});
  }
  root["ranks"] = nlohmann::json(diagnosis.world.ranks);
  return root.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace cskd::doctor
