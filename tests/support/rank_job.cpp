#include "tests/support/rank_job.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cskd::tests {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kForTheOthers = 5s;  // that wait for one that has ended or failed
constexpr auto kToEnd = 10s;        // for mpirun to end its ranks and itself
constexpr std::size_t kShown = 20'000;

// Waits until one can be read from; false when `deadline` comes first, or none of them can be waited for.
bool wait_for_one(std::vector<pollfd>& waiting, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left <= 0ms) return false;
    const int ready = ::poll(waiting.data(), waiting.size(), static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

// With what a root user of a container, and more ranks than cores, need.
std::vector<std::string> environment_of_ranks(const std::string& socket) {
  const std::map<std::string, std::string> own{{RankJob::kSocketVariable, socket},
                                               {"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                                               {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                                               {"OMPI_MCA_mpi_yield_when_idle", "1"},
                                               {"OMPI_MCA_odls_base_sigkill_timeout", "0"}};
  std::vector<std::string> variables;
  for (const auto& [name, value] : own) {
    variables.push_back(name);
    variables.back() += "=" + value;
  }
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string variable = *each;
    if (!own.contains(variable.substr(0, variable.find('=')))) variables.push_back(variable);
  }
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  result.reserve(words.size() + 1);
  for (std::string& word : words) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

// As rank_server.h has it.
RankJob::Answer answer_in(const nlohmann::json& message) {
  RankJob::Answer answer{.fate = RankJob::Fate::kAnswered, .results = {}, .is_broken = message.at("broken")};
  for (const nlohmann::json& result : message.at("results")) {
    answer.results.push_back({.is_skip = result.at("kind") == "skip",
                              .file = result.at("file"),
                              .line = result.at("line"),
                              .text = result.at("text")});
  }
  return answer;
}

}  // namespace

RankJob::RankJob(int ranks, std::chrono::milliseconds limit) : ranks_(ranks) {
  const std::filesystem::path socket = folder_ / "socket";
  const int listening = listen_at(socket);
  try {
    start(socket);
    meet(listening, limit);
  } catch (...) {
    ::close(listening);
    kill();
    throw;
  }
  ::close(listening);
}

RankJob::~RankJob() { kill(); }

void RankJob::meet(int listening, std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  std::vector<std::optional<RankChannel>> ranked(static_cast<std::size_t>(ranks_));
  for (int met = 0; met < ranks_;) {
    std::vector<pollfd> waiting{{.fd = listening, .events = POLLIN, .revents = 0}};
    if (wait_for_one(waiting, std::min<Clock::time_point>(deadline, Clock::now() + 100ms))) {
      RankChannel channel(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
      waiting[0].fd = channel.descriptor();
      std::optional<nlohmann::json> hello;
      while (!(hello = channel.take()) && wait_for_one(waiting, deadline) && channel.receive()) {
      }
      if (hello) {
        ranked.at(hello->at("rank").get<std::size_t>()).emplace(std::move(channel));
        ++met;
      }
    } else if (Clock::now() >= deadline || wait_for_end(0ms)) {
      kill();
      throw std::runtime_error("cannot start this program on " + std::to_string(ranks_) + " ranks; they wrote:\n" +
                               output());
    }
  }
  for (auto& channel : ranked) channels_.push_back(std::move(channel.value()));
}

void RankJob::start(const std::filesystem::path& socket) {
  std::vector<std::string> words{"mpirun",
                                 "--oversubscribe",
                                 "--bind-to",
                                 "none",
                                 "-n",
                                 std::to_string(ranks_),
                                 std::filesystem::read_symlink("/proc/self/exe"),
                                 "--gtest_brief=1"};
  std::vector<std::string> variables = environment_of_ranks(socket);
  const std::vector<char*> arguments = pointers(words), environment = pointers(variables);
  const std::string written = folder_ / "output";
  const pid_t parent = ::getpid();
  mpirun_ = ::fork();
  if (mpirun_ < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  if (mpirun_ > 0) return;
  // mpirun ends with this program, however it ends, and each rank with mpirun.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const int nothing = ::open("/dev/null", O_RDONLY);
  const int output = ::open(written.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::execvpe(arguments[0], arguments.data(), environment.data());
  constexpr char kMissing[] = "mpirun cannot be started\n";
  static_cast<void>(!::write(STDERR_FILENO, kMissing, sizeof kMissing - 1));
  ::_exit(127);
}

std::vector<RankJob::Answer> RankJob::run(const std::string& function, const std::string& argument,
                                          std::chrono::milliseconds limit) {
  auto deadline = Clock::now() + limit;
  std::vector<Answer> answers(channels_.size());
  for (RankChannel& channel : channels_) channel.send({{"function", function}, {"argument", argument}});
  for (;;) {
    std::vector<pollfd> waiting;
    std::vector<std::size_t> asked;
    for (std::size_t rank = 0; rank < channels_.size(); ++rank) {
      if (answers[rank].fate != Fate::kLate) continue;
      waiting.push_back({.fd = channels_[rank].descriptor(), .events = POLLIN, .revents = 0});
      asked.push_back(rank);
    }
    if (waiting.empty() || !wait_for_one(waiting, deadline)) return answers;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      if (waiting[i].revents == 0) continue;
      Answer& answer = answers[asked[i]];
      if (!channels_[asked[i]].receive()) {
        answer.fate = Fate::kEnded;
      } else if (const auto message = channels_[asked[i]].take()) {
        answer = answer_in(*message);
      }
      if (answer.fate == Fate::kEnded || !answer.results.empty())
        deadline = std::min<Clock::time_point>(deadline, Clock::now() + kForTheOthers);
    }
  }
}

bool RankJob::wait_for_end(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (mpirun_ >= 0) {
    const pid_t ended = ::waitpid(mpirun_, &status_, WNOHANG);
    if (ended == mpirun_ || (ended < 0 && errno != EINTR)) {
      mpirun_ = -1;
    } else if (Clock::now() >= deadline) {
      return false;
    } else {
      std::this_thread::sleep_for(5ms);
    }
  }
  return true;
}

bool RankJob::leave(std::chrono::milliseconds limit) {
  channels_.clear();
  return wait_for_end(limit) && WIFEXITED(status_) && WEXITSTATUS(status_) == 0;
}

void RankJob::kill() {
  if (mpirun_ >= 0) {
    // It ends its ranks, by SIGKILL those that a SIGTERM does not, and removes its files.
    ::kill(mpirun_, SIGTERM);
    if (!wait_for_end(kToEnd)) {
      ::kill(mpirun_, SIGKILL);
      wait_for_end(kToEnd);
    }
  }
  // A rank ends with mpirun, and its connection with it.
  const auto deadline = Clock::now() + kToEnd;
  for (RankChannel& channel : channels_) {
    std::vector<pollfd> waiting{{.fd = channel.descriptor(), .events = POLLIN, .revents = 0}};
    while (wait_for_one(waiting, deadline) && channel.receive()) {
    }
  }
  channels_.clear();
}

std::string RankJob::output() const {
  std::string text;
  if (std::filesystem::exists(folder_ / "output")) text = read_file(folder_ / "output");
  return text.size() <= kShown ? text : "..." + text.substr(text.size() - kShown);
}

}  // namespace cskd::tests
