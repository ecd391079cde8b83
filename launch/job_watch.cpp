#include "launch/job_watch.h"

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "runtime/tcp.h"

namespace cskd::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLookAtConnections{5};
constexpr char kSeparator = '\f';  // of pace and connections in a report

}  // namespace

struct JobWatch::State {
  Tell tell;
  distributed::PaceMeter meter;
  Clock::time_point next_look = Clock::now();
  // Of rank 0:
  std::unique_ptr<distributed::PaceJudge> pace;
  std::unique_ptr<distributed::LinkJudge> links;
  std::mutex mutex;
  std::set<std::string> bad_links;  // hosts of those that were told
  std::vector<std::string> told;

  std::string report() {
    std::string text = meter.take();
    if (const auto now = Clock::now(); now >= next_look) {
      next_look = now + kLookAtConnections;
      text += kSeparator + distributed::to_text(distributed::connections_of_this_process());
    }
    return text;
  }

  void take(int rank, const std::string& report) {
    const std::size_t end = report.find(kSeparator);
    pace->add(rank, std::string_view(report).substr(0, end));
    if (end != std::string::npos) links->add(rank, std::string_view(report).substr(end + 1));

    const std::lock_guard lock(mutex);
    for (const std::string& news : pace->take_news()) spdlog::warn("{}", news);
    std::vector<std::string> warnings;
    for (const distributed::SlowRank& slow : pace->slow()) warnings.push_back(describe(slow));
    std::set<std::string> bad;
    for (const std::string& link : links->bad()) {
      // Figures change all the time: it is told again only when it was well in between.
      const std::string name = link.substr(0, link.find(':'));
      bad.insert(name);
      if (!bad_links.contains(name)) spdlog::warn("{}", link);
      warnings.push_back(link);
    }
    for (const std::string& name : bad_links) {
      if (!bad.contains(name)) spdlog::warn("no longer: {}", name);
    }
    bad_links = std::move(bad);
    if (warnings == told) return;
    told = warnings;
    tell(warnings);
  }
};

JobWatch::JobWatch(runtime::World& world, Tell tell) : state_(std::make_shared<State>()), world_(world) {
  state_->tell = std::move(tell);
  std::vector<std::string> hosts;
  std::map<std::string, std::string> host_of_address;
  for (const std::string& text :
       world.all_gather(fmt::format("{} {}", world.host(), fmt::join(runtime::host_addresses(), " ")))) {
    std::istringstream words(text);
    words >> hosts.emplace_back();
    for (std::string address; words >> address;) host_of_address[address] = hosts.back();
  }
  state_->pace = std::make_unique<distributed::PaceJudge>(hosts);
  state_->links = std::make_unique<distributed::LinkJudge>(hosts, std::move(host_of_address));
  if (world.size() == 1) return;
  world.failure_detector().set_on_report(
      [state = state_](int rank, const std::string& report) { state->take(rank, report); });
  world.failure_detector().set_report([state = state_] { return state->report(); });
}

JobWatch::~JobWatch() {
  world_.failure_detector().set_report({});
  world_.failure_detector().set_on_report({});
  const std::lock_guard lock(state_->mutex);
  state_->tell = [](const std::vector<std::string>&) {};
}

distributed::PaceMeter& JobWatch::pace() noexcept { return state_->meter; }

}  // namespace cskd::launch
