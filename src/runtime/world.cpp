#include "runtime/world.h"

#include <array>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <mpi.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/launch_check.h"

namespace cskd::runtime {
namespace {

using Clock = std::chrono::steady_clock;

void check_mpi(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(status, text.data(), &length);
  throw Error(fmt::format("{}: {}", call, std::string_view(text.data(), static_cast<size_t>(length))));
}

// The memory of a collective call that may outlive its caller: MPI may still write to it after a time-out.
struct Buffers {
  std::vector<std::int64_t> numbers;
  std::string in;
  std::string out;
  std::vector<int> counts;
  std::vector<int> offsets;
};

// Polls, because MPI has no wait with a time limit. True when the request is done; otherwise `buffers` are leaked on
// purpose.
bool wait_until(MPI_Request request, Clock::time_point deadline, std::unique_ptr<Buffers>& buffers) {
  std::chrono::microseconds pause{1};
  for (;;) {
    int done = 0;
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0) return true;
    if (Clock::now() >= deadline) {
      static_cast<void>(buffers.release());
      return false;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(500));
  }
}

// Every rank's text, with a time limit for each of the two steps; none when it passes.
std::optional<std::vector<std::string>> gather_texts(MPI_Comm channel, int size, const std::string& text,
                                                     std::chrono::milliseconds timeout) {
  auto buffers = std::make_unique<Buffers>();
  buffers->in = text;
  buffers->numbers.assign(static_cast<size_t>(size) + 1, 0);  // [0] is sent, [1 + r] is what rank r sent
  buffers->numbers[0] = static_cast<std::int64_t>(text.size());
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallgather(buffers->numbers.data(), 1, MPI_INT64_T, buffers->numbers.data() + 1, 1, MPI_INT64_T,
                           channel, &request),
            "MPI_Iallgather");
  if (!wait_until(request, Clock::now() + timeout, buffers)) return std::nullopt;

  std::int64_t total = 0;
  for (int r = 0; r < size; ++r) {
    const std::int64_t length = buffers->numbers[static_cast<size_t>(r) + 1];
    buffers->counts.push_back(static_cast<int>(length));
    buffers->offsets.push_back(static_cast<int>(total));
    total += length;
    CSKD_CHECK(total <= std::numeric_limits<int>::max(), "texts of {} bytes or more in one all_gather", total);
  }
  buffers->out.resize(static_cast<size_t>(total));
  check_mpi(MPI_Iallgatherv(buffers->in.data(), static_cast<int>(buffers->in.size()), MPI_BYTE, buffers->out.data(),
                            buffers->counts.data(), buffers->offsets.data(), MPI_BYTE, channel, &request),
            "MPI_Iallgatherv");
  if (!wait_until(request, Clock::now() + timeout, buffers)) return std::nullopt;

  std::vector<std::string> texts;
  for (size_t r = 0; r < buffers->counts.size(); ++r) {
    texts.push_back(
        buffers->out.substr(static_cast<size_t>(buffers->offsets[r]), static_cast<size_t>(buffers->counts[r])));
  }
  return texts;
}

// Note [Yield when idle]
// Open MPI spins while it waits. With more ranks than cores on a node the spinning rank keeps the core from the one it
// waits for: a small all-reduce on 8 ranks and 2 cores then takes 32 ms instead of 21 us. mpirun notices, srun does
// not, so the setting is made here, unless the user made it.
void yield_when_oversubscribed(const Environment& environment) {
  const auto tasks = environment("SLURM_TASKS_PER_NODE");  // "4" or "4(x2),3": the first number is enough to decide
  if (!tasks || environment("OMPI_COMM_WORLD_SIZE")) return;
  if (std::atoi(tasks->c_str()) > static_cast<int>(std::thread::hardware_concurrency())) {
    ::setenv("OMPI_MCA_mpi_yield_when_idle", "1", /*overwrite=*/0);
  }
}

// Without a launcher Open MPI starts a daemon, only to be able to start further processes. Any sign of a launcher, also
// of one that is not known here, leaves it at that.
void start_alone_when_alone(const Environment& environment) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMIX_NAMESPACE", "PMI_RANK", "SLURM_PROCID"}) {
    if (environment(name)) return;
  }
  ::setenv("OMPI_MCA_ess_singleton_isolated", "1", /*overwrite=*/0);
}

// Note [A start that never ends]
// Until the ranks have met, nobody notices that one is gone: MPI waits for it in MPI_Init. So the start has a time
// limit, and a rank that reaches it ends alone; the others reach it too.
class StartLimit {
 public:
  explicit StartLimit(const Environment& environment) {
    constexpr int kUsual = 120;
    const auto given = environment("CSKD_START_TIMEOUT");
    const int seconds = given ? std::atoi(given->c_str()) : kUsual;
    if (seconds <= 0) throw UsageError(fmt::format("CSKD_START_TIMEOUT is '{}', expected seconds, 1 or more", *given));
    thread_ = std::thread([this, seconds, rank = launcher_rank(environment)] {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, std::chrono::seconds(seconds), [this] { return is_over_; })) return;
      std::fprintf(stderr,
                   "cskd: error: rank %d did not meet all other ranks within %d s: one of them ended during start-up, "
                   "or hosts cannot reach each other; set CSKD_START_TIMEOUT to wait longer\n",
                   rank, seconds);
      std::_Exit(static_cast<int>(ExitCode::kFailure));
    });
  }
  ~StartLimit() {
    {
      const std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  StartLimit(const StartLimit&) = delete;
  StartLimit& operator=(const StartLimit&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace

struct World::Channels {
  MPI_Comm main = MPI_COMM_NULL;
  MPI_Comm failures = MPI_COMM_NULL;
};

World::World(int* argc, char*** argv, bool may_be_alone) : channels_(std::make_unique<Channels>()) {
  const Environment environment = process_environment();
  yield_when_oversubscribed(environment);
  start_alone_when_alone(environment);
  check_before_mpi(environment);
  check_temporary_folder(environment);
  const StartLimit limit(environment);
  int provided = 0;
  check_mpi(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  try {
    check_launch(environment, size_, may_be_alone);
    if (provided < MPI_THREAD_MULTIPLE) {
      throw Error(
          fmt::format("MPI provides {} only, cskd needs MPI_THREAD_MULTIPLE; use an MPI built with thread support",
                      mpi_thread_level()));
    }
  } catch (...) {
    MPI_Finalize();
    throw;
  }
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &channels_->main), "MPI_Comm_dup");
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &channels_->failures), "MPI_Comm_dup");

  MPI_Comm of_node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &of_node),
            "MPI_Comm_split_type");
  MPI_Comm_rank(of_node, &local_rank_);
  MPI_Comm_size(of_node, &local_size_);
  int leader = rank_;
  MPI_Bcast(&leader, 1, MPI_INT, 0, of_node);
  MPI_Comm_free(&of_node);
  std::vector<int> leaders(static_cast<size_t>(size_));
  MPI_Allgather(&leader, 1, MPI_INT, leaders.data(), 1, MPI_INT, channels_->main);
  std::map<int, int> node_of_leader;
  for (const int each : leaders) node_of_leader.emplace(each, 0);
  for (int next = 0; auto& [first_rank, number] : node_of_leader) number = next++;
  node_ = node_of_leader.at(leader);
  nodes_ = static_cast<int>(node_of_leader.size());

  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) == 0) host_ = name.data();
  failure_detector_ = std::make_unique<FailureDetector>(
      FailureDetector::Member{.rank = rank_, .size = size_, .host = host_},
      FailureDetector::Exchange{.all_gather = [this](const std::string& text) { return all_gather(text); },
                                .broadcast = [this](const std::string& text) { return broadcast(text); }});
}

World::~World() {
  failure_detector_->say_goodbye();
  MPI_Comm_free(&channels_->failures);
  MPI_Comm_free(&channels_->main);
  MPI_Finalize();
}

void World::time_out(const std::string& what) {
  broken_ = true;
  throw Error(fmt::format("{}: not every rank joined within {} s; {}", what,
                          static_cast<double>(timeout_.count()) / 1000,
                          investigate_ ? investigate_() : "a rank is stuck, slow or dead"));
}

void World::barrier() {
  ++calls_;
  auto buffers = std::make_unique<Buffers>();
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(channels_->main, &request), "MPI_Ibarrier");
  if (!wait_until(request, Clock::now() + timeout_, buffers)) time_out("barrier");
}

std::vector<std::string> World::all_gather(const std::string& text) {
  ++calls_;
  auto texts = gather_texts(channels_->main, size_, text, timeout_);
  if (!texts) time_out("all_gather");
  return *std::move(texts);
}

std::string World::broadcast(const std::string& text) {
  ++calls_;
  auto buffers = std::make_unique<Buffers>();
  buffers->numbers = {static_cast<std::int64_t>(text.size())};
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibcast(buffers->numbers.data(), 1, MPI_INT64_T, 0, channels_->main, &request), "MPI_Ibcast");
  if (!wait_until(request, Clock::now() + timeout_, buffers)) time_out("broadcast");
  const std::int64_t length = buffers->numbers[0];
  CSKD_CHECK(length <= std::numeric_limits<int>::max(), "a broadcast text of {} bytes", length);
  buffers->out = text;
  buffers->out.resize(static_cast<size_t>(length));
  check_mpi(MPI_Ibcast(buffers->out.data(), static_cast<int>(length), MPI_BYTE, 0, channels_->main, &request),
            "MPI_Ibcast");
  if (!wait_until(request, Clock::now() + timeout_, buffers)) time_out("broadcast");
  return std::move(buffers->out);
}

bool World::any(bool value) {
  ++calls_;
  auto buffers = std::make_unique<Buffers>();
  buffers->numbers = {value ? 1 : 0, 0};
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(buffers->numbers.data(), buffers->numbers.data() + 1, 1, MPI_INT64_T, MPI_MAX,
                           channels_->main, &request),
            "MPI_Iallreduce");
  if (!wait_until(request, Clock::now() + timeout_, buffers)) time_out("any");
  return buffers->numbers[1] != 0;
}

std::optional<std::vector<std::string>> World::exchange_failures(const std::string& text,
                                                                 std::chrono::milliseconds wait) {
  return gather_texts(channels_->failures, size_, text, wait);
}

void World::abort(int exit_code, const std::string& what) const {
  failure_detector_->announce_failure(exit_code, fmt::format("rank {} on {} failed: {}", rank_, host_, what));
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);  // MPI_Abort is not declared as returning never
}

std::string mpi_library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string_view whole(text.data(), static_cast<size_t>(length));
  return std::string(whole.substr(0, whole.find(',')));
}

std::string mpi_thread_level() {
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  switch (level) {
    case MPI_THREAD_MULTIPLE:
      return "MPI_THREAD_MULTIPLE";
    case MPI_THREAD_SERIALIZED:
      return "MPI_THREAD_SERIALIZED";
    case MPI_THREAD_FUNNELED:
      return "MPI_THREAD_FUNNELED";
    default:
      return "MPI_THREAD_SINGLE";
  }
}

}  // namespace cskd::runtime
