#include "tests/support/on_ranks.h"

#include <cstdlib>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/rank_job.h"

namespace cskd::tests {
namespace {

using namespace std::chrono_literals;

// As World's own limit for its start, and for MPI to end.
constexpr auto kStart = 120s, kEnd = 60s;

// Note [Worlds are kept]. In a process that is a rank, its set-up is all that the program does.
class KeptWorlds final : public testing::Environment {
 public:
  void SetUp() override {
    const char* socket = std::getenv(RankJob::kSocketVariable);
    if (socket == nullptr) return;
    is_rank_ = true;
    serve_functions(socket);
    std::exit(0);
  }

  void TearDown() override {
    for (auto& [ranks, job] : jobs_) {
      if (!job->leave(kEnd)) {
        job->kill();
        ADD_FAILURE() << "the world of " << ranks << " ranks did not end in order; it wrote:\n" << job->output();
      }
    }
    jobs_.clear();
  }

  RankJob& of(int ranks) {
    if (is_rank_) throw std::logic_error("on_ranks() within a function that runs on ranks");
    const auto kept = jobs_.find(ranks);
    if (kept != jobs_.end()) return *kept->second;
    return *jobs_.emplace(ranks, std::make_unique<RankJob>(ranks, kStart)).first->second;
  }

  void forget(int ranks) { jobs_.erase(ranks); }

 private:
  bool is_rank_ = false;
  std::map<int, std::unique_ptr<RankJob>> jobs_;
};

// GoogleTest owns it, as it asks.
KeptWorlds& kept_worlds() {
  static auto* worlds = new KeptWorlds;
  return *worlds;
}
[[maybe_unused]] const testing::Environment* const registered = testing::AddGlobalTestEnvironment(&kept_worlds());

std::string list_of(const std::vector<RankJob::Answer>& answers, RankJob::Fate fate) {
  std::string ranks;
  for (std::size_t rank = 0; rank < answers.size(); ++rank) {
    if (answers[rank].fate == fate) ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
  }
  return ranks;
}

struct Verdict {
  bool is_kept = true;
  std::string skip;
};

// Passes on what the ranks that answered found. What has no place of its own gets that of the call.
Verdict report_results(const std::vector<RankJob::Answer>& answers, const char* call_file, int call_line) {
  Verdict verdict;
  for (std::size_t rank = 0; rank < answers.size(); ++rank) {
    for (const RankJob::Result& result : answers[rank].results) {
      const std::string text =
          "on rank " + std::to_string(rank) + " of " + std::to_string(answers.size()) + ": " + result.text;
      verdict.is_kept = false;
      if (result.is_skip) {
        verdict.skip = text;
      } else {
        const bool has_place = !result.file.empty();
        ADD_FAILURE_AT(has_place ? result.file.c_str() : call_file, has_place ? result.line : call_line) << text;
      }
    }
    if (answers[rank].is_broken) verdict.is_kept = false;
  }
  return verdict;
}

}  // namespace

void run_on_ranks(int ranks, std::chrono::milliseconds limit, const char* name, const std::string& argument,
                  const char* file, int line) {
  RankJob& job = kept_worlds().of(ranks);
  const std::vector<RankJob::Answer> answers = job.run(name, argument, limit);
  const Verdict verdict = report_results(answers, file, line);
  const std::string ended = list_of(answers, RankJob::Fate::kEnded), late = list_of(answers, RankJob::Fate::kLate);
  if (ended.empty() && late.empty() && verdict.is_kept) return;
  job.kill();
  if (!ended.empty()) {
    ADD_FAILURE_AT(file, line) << "of " << ranks << " ranks, " << ended << " ended within the function; they wrote:\n"
                               << job.output();
  }
  if (!late.empty()) {
    ADD_FAILURE_AT(file, line) << "of " << ranks << " ranks, " << late << " were not done within "
                               << static_cast<double>(limit.count()) / 1000
                               << " s, or soon after another had failed, and were ended; they wrote:\n"
                               << job.output();
  }
  kept_worlds().forget(ranks);
  if (!verdict.skip.empty()) GTEST_SKIP() << verdict.skip;
}

}  // namespace cskd::tests
