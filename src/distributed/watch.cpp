#include "distributed/watch.h"

#include <atomic>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/mailbox.h"
#include "runtime/stop_signal.h"

namespace cskd::distributed {
namespace {

constexpr int kAsk = 1;
constexpr int kAnswer = 2;
constexpr std::chrono::milliseconds kPoll{20};

// A rank's report of itself: how many collectives it asked for, which of them is the oldest that neither ended nor
// began, how many calls of its world it began, and its state.
struct Answer {
  std::uint64_t queued = 0;
  std::uint64_t lost = 0;  // 0: none
  std::uint64_t world_calls = 0;
  std::string state;
};

std::string pack(const Answer& answer) {
  return fmt::format("{} {} {} {}", answer.queued, answer.lost, answer.world_calls, answer.state);
}

Answer unpack(const std::string& text) {
  Answer answer;
  std::istringstream words(text);
  words >> answer.queued >> answer.lost >> answer.world_calls;
  words.get();
  std::getline(words, answer.state, '\0');
  return answer;
}

std::string ranks_text(const std::vector<int>& ranks) {
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", fmt::join(ranks, ", "));
}

}  // namespace

struct Watch::Channel {
  Channel(runtime::World& with_world, const Journal& with_journal, std::filesystem::path with_folder)
      : world(with_world), journal(with_journal), folder(std::move(with_folder)), mailbox(with_world) {}

  Answer answer() const {
    const std::optional<Collective> pending = journal.pending();
    return {journal.queued(), pending && !pending->started ? pending->number : 0, world.calls(), journal.state()};
  }

  // The file is replaced, since a process may be killed while it writes its last; but it has no time to wait for a
  // disk.
  void write(const std::string& reason) {
    const std::lock_guard lock(file_mutex);
    // What came first is the cause of what follows.
    if (reasons.empty() || reasons.back() != reason) reasons.push_back(reason);
    const std::filesystem::path path = folder / fmt::format("collectives-rank-{}.txt", world.rank());
    std::filesystem::path unfinished = path;
    unfinished += ".tmp";
    std::ofstream file(unfinished);
    file << journal.text(fmt::format("rank {} of {} on {}: {}", world.rank(), world.size(), world.host(),
                                     fmt::join(reasons, "; then ")));
    file.close();
    std::error_code ignored;
    if (file) std::filesystem::rename(unfinished, path, ignored);
  }

  void serve() {
    bool signalled = false;
    while (!stopping) {
      if (const auto question = mailbox.receive(kAsk)) {
        write(question->text);
        mailbox.send(question->source, kAnswer, pack(answer()));
        continue;
      }
      if (const int signal = runtime::StopSignal::received(); signal != 0 && !std::exchange(signalled, true))
        write(fmt::format("signal {}", signal));
      std::this_thread::sleep_for(kPoll);
    }
  }

  // Asks all, and waits for the answers of those that live.
  std::map<int, Answer> ask(const std::string& reason) {
    write(reason);
    std::map<int, Answer> answers{{world.rank(), answer()}};
    for (int rank = 0; rank < world.size(); ++rank) {
      if (rank != world.rank()) mailbox.send(rank, kAsk, reason);
    }
    const auto deadline = std::chrono::steady_clock::now() + kWaitForAnswers;
    while (answers.size() < static_cast<std::size_t>(world.size()) && std::chrono::steady_clock::now() < deadline) {
      if (const auto found = mailbox.receive(kAnswer)) {
        answers[found->source] = unpack(found->text);
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    return answers;
  }

  // Which ranks are in what is waited for, by what they answer, and where the others are.
  template <typename IsInside>
  std::string blame(const std::string& reason, const IsInside& is_inside) {
    const std::map<int, Answer> answers = ask(reason);
    std::vector<int> inside;
    std::vector<int> silent;
    std::string text;
    for (int rank = 0; rank < world.size(); ++rank) {
      const auto found = answers.find(rank);
      if (found == answers.end()) {
        silent.push_back(rank);
      } else if (is_inside(found->second)) {
        inside.push_back(rank);
      } else {
        text += fmt::format("; rank {} is not: {}", rank, found->second.state);
      }
    }
    if (!silent.empty())
      text += fmt::format("; {} no answer", ranks_text(silent) + (silent.size() == 1 ? " gives" : " give"));
    // All came, and still it does not end.
    if (text.empty()) {
      for (const auto& [rank, answer] : answers) text += fmt::format("; rank {}: {}", rank, answer.state);
    }
    return fmt::format("{} {} in it{} (journals: {})", ranks_text(inside), inside.size() == 1 ? "is" : "are", text,
                       (folder / "collectives-rank-*.txt").native());
  }

  runtime::World& world;
  const Journal& journal;
  const std::filesystem::path folder;
  runtime::Mailbox mailbox;
  std::mutex file_mutex;
  std::vector<std::string> reasons;  // for which the journal was written
  std::atomic<bool> stopping{false};
  std::thread thread;
};

Watch::Watch(runtime::World& world, const Journal& journal, std::filesystem::path folder)
    : channel_(std::make_unique<Channel>(world, journal, std::move(folder))) {
  channel_->thread = std::thread([channel = channel_.get()] { channel->serve(); });
}

Watch::~Watch() {
  channel_->stopping = true;
  channel_->thread.join();
}

std::string Watch::investigate(const Collective& slow) {
  return channel_->blame(fmt::format("{} is not done", describe(slow)), [&slow](const Answer& answer) {
    return answer.queued >= slow.number && (answer.lost == 0 || answer.lost > slow.number);
  });
}

std::string Watch::investigate_world() {
  const std::uint64_t call = channel_->world.calls();
  return channel_->blame("an exchange between all ranks is not done",
                         [call](const Answer& answer) { return answer.world_calls >= call; });
}

void Watch::write(const std::string& reason) { channel_->write(reason); }

std::string Watch::write_all(const std::string& reason) {
  std::string text;
  const std::map<int, Answer> answers = channel_->ask(reason);
  // Others that failed at the same time ask, too, before this rank goes.
  std::this_thread::sleep_for(5 * kPoll);
  for (int rank = 0; rank < channel_->world.size(); ++rank) {
    const auto found = answers.find(rank);
    text += fmt::format("rank {}: {}\n", rank, found == answers.end() ? "no answer" : found->second.state);
  }
  return text;
}

}  // namespace cskd::distributed
