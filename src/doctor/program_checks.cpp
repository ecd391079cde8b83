#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "doctor/checks.h"

namespace cskd::doctor {
namespace {

constexpr const char* kSameBuild = "start the same build on every host: rebuild or copy it there, or leave them out";
constexpr const char* kSameConfiguration =
    "give every rank the same file and --set options, from a folder that all hosts see";

std::string short_build(const std::string& build) { return build.substr(0, 12); }

Check check_libraries(const WorldFacts& world) {
  std::set<std::string> names;
  for (const RankFacts& rank : world.ranks) {
    for (const auto& [name, version] : rank.libraries) names.insert(name);
  }
  for (const std::string& name : names) {
    const auto version = [&](const RankFacts& rank) {
      const auto found = rank.libraries.find(name);
      return found == rank.libraries.end() ? std::string("none") : found->second;
    };
    const auto most = majority(everyone(world), version);
    if (most.others.empty()) continue;
    return {"program", Verdict::kWrong,
            fmt::format("{} {} {} {}, the others {}", hosts_of(most.others),
                        are_of_one_host(most.others) ? "has" : "have", name, version(*most.others.front()), most.value),
            "install the same libraries on every host, or leave them out"};
  }
  const RankFacts& first = world.ranks.front();
  return {"program", Verdict::kFine,
          fmt::format("cskd {} (build {}), the same everywhere", first.program_version, short_build(first.build)), ""};
}

Check check_processors(const WorldFacts& world) {
  const auto most = majority(leaders(world), [](const RankFacts& rank) { return rank.features; });
  if (most.others.empty()) return {"processors", Verdict::kFine, fmt::format("{}", world.ranks.front().cpu), ""};
  const RankFacts& odd = *most.others.front();
  return {
      "processors", Verdict::kSlow,
      fmt::format("{}: {} with {}; the others have {}", hosts_of(most.others), odd.cpu,
                  odd.features.empty() ? "none of the wanted features" : odd.features,
                  most.value.empty() ? "none of them" : most.value),
      "hosts of one kind (sbatch --constraint): other instructions give other last bits, and the slowest host sets the "
      "pace"};
}

Checks check_configuration(const WorldFacts& world) {
  Ranks unread;
  for (const RankFacts& rank : world.ranks) {
    if (!rank.configuration_problem.empty()) unread.push_back(&rank);
  }
  if (!unread.empty()) {
    return {{"configuration", Verdict::kWrong,
             fmt::format("{}: {}", hosts_of(unread), unread.front()->configuration_problem), kSameConfiguration}};
  }
  const RankFacts& first = world.ranks.front();
  if (first.configuration.empty()) return {};
  const auto most = majority(everyone(world), [](const RankFacts& rank) { return rank.configuration; });
  if (most.others.empty()) {
    return {
        {"configuration", Verdict::kFine, fmt::format("the same everywhere (XXH3-128 {})", first.configuration), ""}};
  }
  const RankFacts& odd = *most.others.front();
  const auto usual = std::find_if(world.ranks.begin(), world.ranks.end(),
                                  [&](const RankFacts& rank) { return rank.configuration == most.value; });
  std::string found = fmt::format("{} read another one", hosts_of(most.others));
  std::set<std::string> keys;
  for (const auto* settings : {&odd.settings, &usual->settings}) {
    for (const auto& [key, value] : *settings) keys.insert(key);
  }
  const auto value_of = [](const RankFacts& rank, const std::string& key) {
    const auto value = rank.settings.find(key);
    return value == rank.settings.end() ? std::string("not given") : value->second;
  };
  for (const std::string& key : keys) {
    if (value_of(odd, key) == value_of(*usual, key)) continue;
    found += fmt::format(": {} is {} there, {} elsewhere", key, value_of(odd, key), value_of(*usual, key));
    break;
  }
  return {{"configuration", Verdict::kWrong, found, kSameConfiguration}};
}

}  // namespace

Checks judge(const std::vector<Identity>& identities) {
  std::vector<RankFacts> ranks(identities.size());
  Ranks all;
  for (std::size_t i = 0; i < identities.size(); ++i) {
    ranks[i].host = identities[i].host;
    ranks[i].program_version = identities[i].program_version;
    ranks[i].build = identities[i].build;
    all.push_back(&ranks[i]);
  }
  const auto text = [](const RankFacts& rank) {
    return fmt::format("cskd {} (build {})", rank.program_version, short_build(rank.build));
  };
  const auto most = majority(all, text);
  if (most.others.empty()) return {};
  return {{"program", Verdict::kWrong,
           fmt::format("{} {} {}, the others {}", hosts_of(most.others), are_of_one_host(most.others) ? "runs" : "run",
                       text(*most.others.front()), most.value),
           kSameBuild}};
}

Checks check_program(const WorldFacts& world) {
  Checks checks{check_libraries(world), check_processors(world)};
  for (Check& check : check_configuration(world)) checks.push_back(std::move(check));
  return checks;
}

}  // namespace cskd::doctor
