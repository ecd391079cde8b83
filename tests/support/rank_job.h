// The processes of one world that tests use: mpirun and its ranks, started, used and ended.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "tests/support/rank_channel.h"
#include "tests/support/temporary_folder.h"

namespace cskd::tests {

class RankJob {
 public:
  // The variable that makes a program of tests a rank; its value is where it finds the test's socket.
  static constexpr const char* kSocketVariable = "CSKD_TEST_RANK_SOCKET";

  // Starts this program on `ranks` ranks and waits until all are there. Throws std::runtime_error with what they wrote
  // when they are not within `limit`.
  RankJob(int ranks, std::chrono::milliseconds limit);
  // Ends what still runs.
  ~RankJob();
  RankJob(const RankJob&) = delete;
  RankJob& operator=(const RankJob&) = delete;

  enum class Fate { kLate, kEnded, kAnswered };
  struct Result {
    bool is_skip = false;
    std::string file;  // empty where it has no place of its own
    int line = 0;
    std::string text;
  };
  struct Answer {
    Fate fate = Fate::kLate;
    std::vector<Result> results;  // of expectations that failed
    bool is_broken = false;       // its world
  };
  // Makes every rank run the function that it knows by this name, and waits for their answers, until `limit` is over.
  // When a rank has ended or failed, the others, which may wait for it, get no more than some seconds. Entry r is rank
  // r's.
  std::vector<Answer> run(const std::string& function, const std::string& argument, std::chrono::milliseconds limit);

  // Lets the ranks end by themselves. False when they don't within `limit`, or not with exit code 0.
  bool leave(std::chrono::milliseconds limit);
  // Ends mpirun and its ranks.
  void kill();
  // The end of what mpirun and its ranks wrote.
  std::string output() const;

 private:
  void start(const std::filesystem::path& socket);
  // Takes the ranks' connections.
  void meet(int listening, std::chrono::milliseconds limit);
  // True once mpirun has ended, within `limit`.
  bool wait_for_end(std::chrono::milliseconds limit);

  int ranks_;
  TemporaryFolder folder_;
  pid_t mpirun_ = -1;  // -1 when there is none
  int status_ = 0;     // mpirun's, as of waitpid()
  std::vector<RankChannel> channels_;
};

}  // namespace cskd::tests
