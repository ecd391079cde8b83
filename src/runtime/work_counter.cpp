#include "runtime/work_counter.h"

#include <exception>

#include <mpi.h>

#include "runtime/error.h"

namespace cskd::runtime {

struct WorkCounter::Window {
  MPI_Win window = MPI_WIN_NULL;
  std::int64_t* memory = nullptr;
  std::int64_t total = 0;
  int exceptions = std::uncaught_exceptions();
};

WorkCounter::WorkCounter(World& world, std::int64_t total) : window_(std::make_unique<Window>()) {
  window_->total = total;
  const MPI_Aint size = world.rank() == 0 ? sizeof(std::int64_t) : 0;
  if (MPI_Win_allocate(size, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &window_->memory, &window_->window) != MPI_SUCCESS) {
    throw Error("MPI_Win_allocate failed: work cannot be handed out to ranks");
  }
  MPI_Win_lock_all(0, window_->window);
  if (world.rank() == 0) {
    *window_->memory = 0;
    MPI_Win_sync(window_->window);
  }
  world.barrier();
}

WorkCounter::~WorkCounter() {
  // While an exception ends this rank alone, the others may never come here: the job is aborted instead.
  if (std::uncaught_exceptions() > window_->exceptions) return;
  MPI_Win_unlock_all(window_->window);
  MPI_Win_free(&window_->window);
}

std::int64_t WorkCounter::next() {
  const std::lock_guard lock(mutex_);
  const std::int64_t one = 1;
  std::int64_t item = 0;
  MPI_Fetch_and_op(&one, &item, MPI_INT64_T, 0, 0, MPI_SUM, window_->window);
  MPI_Win_flush(0, window_->window);
  return item;
}

}  // namespace cskd::runtime
