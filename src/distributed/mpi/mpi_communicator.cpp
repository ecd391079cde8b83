#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <mpi.h>

#include "distributed/communicator.h"
#include "distributed/mpi/mpi_reduction.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::distributed {
namespace {

// Elements that one MPI call takes at most: its counts are ints.
constexpr std::int64_t kMostElements = 1 << 28;

// How long a thread looks again and again, letting others run, before it sleeps: to be woken takes longer than a small
// operation does.
constexpr std::chrono::microseconds kLook{50};

template <typename IsThere>
void look_for(const IsThere& is_there) {
  const auto end = std::chrono::steady_clock::now() + kLook;
  while (!is_there() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

// One call for the thread; whoever waits and the thread both hold it.
struct Task {
  std::function<void()> run;
  std::uint64_t number = 0;
  std::mutex mutex;
  std::condition_variable done_changed;
  std::atomic<bool> done{false};  // set under the mutex
  std::exception_ptr error;
};

// What the thread and the communicator share; it outlives the communicator when a call never returns.
struct Shared {
  explicit Shared(std::shared_ptr<Journal> with) : journal(std::move(with)) {}

  std::shared_ptr<Journal> journal;
  MpiTypes types;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Task>> tasks;
  std::atomic<bool> has_tasks{false};  // set under the mutex, as stopping
  bool stopping = false;
};

void serve(const std::shared_ptr<Shared>& shared) {
  for (;;) {
    std::shared_ptr<Task> task;
    look_for([&] { return shared->has_tasks.load(); });
    {
      std::unique_lock lock(shared->mutex);
      shared->changed.wait(lock, [&] { return shared->stopping || !shared->tasks.empty(); });
      if (shared->tasks.empty()) return;
      task = shared->tasks.front();
      shared->tasks.pop_front();
      shared->has_tasks = !shared->tasks.empty();
    }
    std::exception_ptr error;
    shared->journal->start(task->number);
    try {
      task->run();
      shared->journal->end(task->number);
    } catch (...) {
      error = std::current_exception();
    }
    {
      const std::lock_guard lock(task->mutex);
      task->done = true;
      task->error = error;
    }
    task->done_changed.notify_all();
  }
}

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(runtime::World& world, std::chrono::milliseconds timeout)
      : Communicator(world.rank(), world.size()), world_(world) {
    set_timeout(timeout);
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &channel_), "MPI_Comm_dup");
    check_mpi(MPI_Comm_set_errhandler(channel_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    thread_ = std::thread(serve, shared_);
  }

  ~MpiCommunicator() override {
    const bool is_lost = world_.broken() || failed_;
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->stopping = true;
      if (is_lost) shared_->tasks.clear();
    }
    shared_->changed.notify_all();
    if (is_lost) {
      thread_.detach();  // it may be inside an MPI call that never returns; the job is being aborted
      return;
    }
    thread_.join();
    MPI_Comm_free(&channel_);
  }

  std::string name() const override { return "mpi"; }
  at::Device device() const override { return at::kCPU; }

 protected:
  std::unique_ptr<Work> launch_all_reduce(const at::Tensor& tensor, Reduction reduction,
                                          std::uint64_t number) override {
    return launch(number, [tensor, reduction, size = size(), channel = channel_, shared = shared_.get()] {
      if (reduction == Reduction::kTreeSum) return tree_all_reduce(tensor, channel);
      in_parts(tensor, [&](void* data, int count) {
        check_mpi(MPI_Allreduce(MPI_IN_PLACE, data, count, shared->types.type(tensor.scalar_type()),
                                shared->types.operation(tensor.scalar_type(), reduction), channel),
                  "MPI_Allreduce");
      });
      if (reduction == Reduction::kMean) tensor.div_(size);
    });
  }

  std::unique_ptr<Work> launch_broadcast(const at::Tensor& tensor, int root, std::uint64_t number) override {
    return launch(number, [tensor, root, channel = channel_] {
      const at::Tensor bytes =
          at::from_blob(tensor.data_ptr(), {static_cast<std::int64_t>(tensor.nbytes())}, at::kByte);
      in_parts(bytes,
               [&](void* data, int count) { check_mpi(MPI_Bcast(data, count, MPI_BYTE, root, channel), "MPI_Bcast"); });
    });
  }

  std::unique_ptr<Work> launch_all_gather(const at::Tensor& tensor, const at::Tensor& gathered,
                                          std::uint64_t number) override {
    const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
    CSKD_CHECK(bytes <= std::numeric_limits<int>::max(), "all-gather of {} bytes", bytes);
    return launch(number, [tensor, gathered, bytes, channel = channel_] {
      check_mpi(MPI_Allgather(tensor.data_ptr(), static_cast<int>(bytes), MPI_BYTE, gathered.data_ptr(),
                              static_cast<int>(bytes), MPI_BYTE, channel),
                "MPI_Allgather");
    });
  }

  std::unique_ptr<Work> launch_reduce_scatter(const at::Tensor& tensor, const at::Tensor& part,
                                              std::uint64_t number) override {
    CSKD_CHECK(part.numel() <= std::numeric_limits<int>::max(), "reduce-scatter of {} numbers", tensor.numel());
    return launch(number, [tensor, part, channel = channel_, shared = shared_.get()] {
      check_mpi(MPI_Reduce_scatter_block(tensor.data_ptr(), part.data_ptr(), static_cast<int>(part.numel()),
                                         shared->types.type(tensor.scalar_type()),
                                         shared->types.operation(tensor.scalar_type(), Reduction::kSum), channel),
                "MPI_Reduce_scatter_block");
    });
  }

  void declare_broken() override { world_.declare_broken(); }

 private:
  class MpiWork : public Work {
   public:
    MpiWork(std::shared_ptr<Task> task, MpiCommunicator& owner) : task_(std::move(task)), owner_(owner) {}
    void wait() override {
      look_for([this] { return task_->done.load(); });
      std::unique_lock lock(task_->mutex);
      if (!task_->done_changed.wait_for(lock, owner_.timeout(), [this] { return task_->done.load(); })) {
        owner_.time_out(task_->number);
      }
      if (task_->error) {
        owner_.failed_ = true;
        std::rethrow_exception(task_->error);
      }
    }

   private:
    std::shared_ptr<Task> task_;
    MpiCommunicator& owner_;
  };

  // In pieces that an int can count.
  template <typename Call>
  static void in_parts(const at::Tensor& tensor, Call call) {
    auto* data = static_cast<char*>(tensor.data_ptr());
    for (std::int64_t at = 0; at < tensor.numel(); at += kMostElements) {
      const std::int64_t count = std::min(kMostElements, tensor.numel() - at);
      call(data + at * static_cast<std::int64_t>(tensor.element_size()), static_cast<int>(count));
    }
  }

  std::unique_ptr<Work> launch(std::uint64_t number, std::function<void()> run) {
    auto task = std::make_shared<Task>();
    task->run = std::move(run);
    task->number = number;
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->tasks.push_back(task);
      shared_->has_tasks = true;
    }
    shared_->changed.notify_all();
    return std::make_unique<MpiWork>(task, *this);
  }

  runtime::World& world_;
  MPI_Comm channel_ = MPI_COMM_NULL;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>(shared_journal());
  std::thread thread_;
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(runtime::World& world, std::chrono::milliseconds timeout) {
  return std::make_unique<MpiCommunicator>(world, timeout);
}

}  // namespace cskd::distributed
