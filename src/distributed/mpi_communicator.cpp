#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <thread>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <mpi.h>

#include "distributed/communicator.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::distributed {
namespace {

// Elements that one MPI call takes at most: its counts are ints.
constexpr std::int64_t kMostElements = 1 << 28;

MPI_Datatype mpi_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    default:
      CSKD_CHECK(false, "no MPI type for {}", at::toString(type));
      return MPI_DATATYPE_NULL;
  }
}

bool is_half(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16;
}

void check(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw runtime::Error(fmt::format("{}: {}", call, std::string_view(text, static_cast<size_t>(length))));
}

// One call for the thread; whoever waits and the thread both hold it.
struct Task {
  std::function<void()> run;
  std::mutex mutex;
  std::condition_variable done_changed;
  bool done = false;
  std::exception_ptr error;
};

// What the thread and the communicator share; it outlives the communicator when a call never returns.
struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Task>> tasks;
  bool stopping = false;
};

void serve(const std::shared_ptr<Shared>& shared) {
  for (;;) {
    std::shared_ptr<Task> task;
    {
      std::unique_lock lock(shared->mutex);
      shared->changed.wait(lock, [&] { return shared->stopping || !shared->tasks.empty(); });
      if (shared->tasks.empty()) return;
      task = shared->tasks.front();
      shared->tasks.pop_front();
    }
    std::exception_ptr error;
    try {
      task->run();
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
  MpiCommunicator(runtime::World& world, std::chrono::milliseconds timeout) : world_(world), timeout_(timeout) {
    check(MPI_Comm_dup(MPI_COMM_WORLD, &channel_), "MPI_Comm_dup");
    check(MPI_Comm_set_errhandler(channel_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    thread_ = std::thread(serve, shared_);
  }

  ~MpiCommunicator() override {
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->stopping = true;
      if (world_.broken() || failed_) shared_->tasks.clear();
    }
    shared_->changed.notify_all();
    if (world_.broken() || failed_) {
      thread_.detach();  // it may be inside an MPI call that never returns; the job is being aborted
      return;
    }
    thread_.join();
    MPI_Comm_free(&channel_);
  }

  std::string name() const override { return "mpi"; }
  int rank() const override { return world_.rank(); }
  int size() const override { return world_.size(); }
  at::Device device() const override { return at::kCPU; }

  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction) override {
    require(tensor);
    return start(fmt::format("all-reduce of {} numbers", tensor.numel()),
                 [tensor, reduction, size = size(), channel = channel_] {
                   at::Tensor wide = is_half(tensor) ? tensor.to(at::kFloat) : tensor;
                   const MPI_Op operation = reduction == Reduction::kMax ? MPI_MAX : MPI_SUM;
                   in_parts(wide, [&](void* data, int count) {
                     check(MPI_Allreduce(MPI_IN_PLACE, data, count, mpi_type(wide.scalar_type()), operation, channel),
                           "MPI_Allreduce");
                   });
                   if (reduction == Reduction::kMean) wide.div_(size);
                   if (is_half(tensor)) tensor.copy_(wide);
                 });
  }

  void broadcast(const at::Tensor& tensor, int root) override {
    require(tensor);
    start(fmt::format("broadcast of {} numbers", tensor.numel()), [tensor, root, channel = channel_] {
      const at::Tensor bytes =
          at::from_blob(tensor.data_ptr(), {static_cast<std::int64_t>(tensor.nbytes())}, at::kByte);
      in_parts(bytes,
               [&](void* data, int count) { check(MPI_Bcast(data, count, MPI_BYTE, root, channel), "MPI_Bcast"); });
    })->wait();
  }

  std::vector<at::Tensor> all_gather(const at::Tensor& tensor) override {
    require(tensor);
    const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
    CSKD_CHECK(bytes <= std::numeric_limits<int>::max(), "all_gather of {} bytes", bytes);
    const at::Tensor gathered = at::empty({size(), bytes}, at::kByte);
    start(fmt::format("all-gather of {} numbers", tensor.numel()), [tensor, gathered, bytes, channel = channel_] {
      check(MPI_Allgather(tensor.data_ptr(), static_cast<int>(bytes), MPI_BYTE, gathered.data_ptr(),
                          static_cast<int>(bytes), MPI_BYTE, channel),
            "MPI_Allgather");
    })->wait();
    std::vector<at::Tensor> tensors;
    for (int r = 0; r < size(); ++r)
      tensors.push_back(gathered[r].clone().view(tensor.scalar_type()).view(tensor.sizes()));
    return tensors;
  }

 private:
  class MpiWork : public Work {
   public:
    MpiWork(std::shared_ptr<Task> task, std::string what, MpiCommunicator& owner)
        : task_(std::move(task)), what_(std::move(what)), owner_(owner) {}
    void wait() override {
      std::unique_lock lock(task_->mutex);
      if (!task_->done_changed.wait_for(lock, owner_.timeout_, [this] { return task_->done; })) {
        owner_.world_.declare_broken();
        throw runtime::Error(fmt::format("{} on rank {} of {} was not done after {} s: another rank ended or is stuck",
                                         what_, owner_.rank(), owner_.size(), owner_.timeout_.count() / 1000));
      }
      if (task_->error) {
        owner_.failed_ = true;
        std::rethrow_exception(task_->error);
      }
    }

   private:
    std::shared_ptr<Task> task_;
    std::string what_;
    MpiCommunicator& owner_;
  };

  void require(const at::Tensor& tensor) const {
    CSKD_CHECK(tensor.is_non_overlapping_and_dense() && tensor.device().is_cpu(), "MPI needs dense tensors on the CPU");
  }

  // In pieces that an int can count.
  template <typename Call>
  static void in_parts(const at::Tensor& tensor, Call call) {
    auto* data = static_cast<char*>(tensor.data_ptr());
    for (std::int64_t at = 0; at < tensor.numel(); at += kMostElements) {
      const std::int64_t count = std::min(kMostElements, tensor.numel() - at);
      call(data + at * static_cast<std::int64_t>(tensor.element_size()), static_cast<int>(count));
    }
  }

  std::unique_ptr<Work> start(std::string what, std::function<void()> run) {
    auto task = std::make_shared<Task>();
    task->run = std::move(run);
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->tasks.push_back(task);
    }
    shared_->changed.notify_all();
    return std::make_unique<MpiWork>(task, std::move(what), *this);
  }

  runtime::World& world_;
  const std::chrono::milliseconds timeout_;
  MPI_Comm channel_ = MPI_COMM_NULL;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(runtime::World& world, std::chrono::milliseconds timeout) {
  return std::make_unique<MpiCommunicator>(world, timeout);
}

}  // namespace cskd::distributed
