#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>
#include <nccl.h>
#include <spdlog/spdlog.h>

#include "distributed/communicator.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::distributed {
namespace {

using Clock = std::chrono::steady_clock;

ncclDataType_t nccl_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kHalf:
      return ncclFloat16;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kLong:
      return ncclInt64;
    default:
      CSKD_CHECK(false, "no NCCL type for {}", at::toString(type));
      return ncclFloat32;
  }
}

ncclRedOp_t nccl_operation(Reduction reduction) {
  switch (reduction) {
    case Reduction::kSum:
      return ncclSum;
    case Reduction::kMean:
      return ncclAvg;
    case Reduction::kMax:
      return ncclMax;
    case Reduction::kTreeSum:
      break;
  }
  CSKD_CHECK(false, "NCCL has no such reduction");
  return ncclSum;
}

// Memory of ncclMemAlloc() that is registered with a communicator; its tensors may outlive that.
struct RegisteredMemory {
  std::mutex mutex;
  ncclComm_t communicator = nullptr;  // none any more: nothing is left to be deregistered
  std::map<void*, void*> handles;     // by address

  void release(void* memory) {
    const std::lock_guard lock(mutex);
    const auto found = handles.find(memory);
    if (communicator != nullptr && found != handles.end()) ncclCommDeregister(communicator, found->second);
    if (found != handles.end()) handles.erase(found);
    ncclMemFree(memory);
  }

  void leave_communicator() {
    {
      const std::lock_guard lock(mutex);
      if (communicator == nullptr) return;
      for (const auto& [memory, handle] : handles) ncclCommDeregister(communicator, handle);
    }
    forget_communicator();
  }

  // An abort deregisters everything.
  void forget_communicator() {
    const std::lock_guard lock(mutex);
    handles.clear();
    communicator = nullptr;
  }
};

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(runtime::World& world, at::Device device, std::chrono::milliseconds timeout)
      : Communicator(world.rank(), world.size()),
        world_(world),
        device_(device),
        stream_(c10::cuda::getStreamFromPool(true, device.index())) {
    set_timeout(timeout);
    c10::cuda::set_device(device_.index());  // of this thread: a context on another device would take its memory
    std::string id_text(sizeof(ncclUniqueId), '\0');
    if (world.rank() == 0) {
      ncclUniqueId made;
      check(ncclGetUniqueId(&made), "ncclGetUniqueId");
      std::memcpy(id_text.data(), &made, sizeof(made));
    }
    id_text = world.broadcast(id_text);
    ncclUniqueId id;
    std::memcpy(&id, id_text.data(), sizeof(id));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    settle(ncclCommInitRankConfig(&communicator_, world.size(), id, world.rank(), &config), "ncclCommInitRankConfig");
    registered_->communicator = communicator_;
    anchor();
  }

  ~NcclCommunicator() override {
    registered_->leave_communicator();
    // Aborting never waits for the other ranks, which may be gone.
    if (communicator_ != nullptr) ncclCommAbort(communicator_);
  }

  // Note [A failure on the device]
  // A kernel of NCCL may still run and write when an operation timed out or failed: what unwinding frees first
  // (buffers, streams) must not be what it uses, and freeing memory waits for it, for ever. So whoever finds the
  // failure has the other ranks asked, tells of it, and ends the kernels by an abort, before the error unwinds
  // anything.

  std::string name() const override { return "nccl"; }
  at::Device device() const override { return device_; }

  // Note [Registered buffers]
  // NCCL copies ordinary memory through buffers of its own; registered memory of its own allocator it can hand to
  // NVLink and the network as it is. https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/usage/bufferreg.html
  at::Tensor allocate(std::int64_t numbers, at::ScalarType type) override {
    const c10::cuda::CUDAGuard guard(device_);
    const auto bytes = static_cast<std::size_t>(numbers) * c10::elementSize(type);
    void* memory = nullptr;
    // Not every driver can.
    if (bytes == 0 || ncclMemAlloc(&memory, bytes) != ncclSuccess) return Communicator::allocate(numbers, type);
    void* handle = nullptr;
    settle(ncclCommRegister(communicator_, memory, bytes, &handle), "ncclCommRegister");
    {
      const std::lock_guard lock(registered_->mutex);
      registered_->handles.emplace(memory, handle);
    }
    return at::from_blob(
               memory, {numbers}, [registered = registered_](void* data) { registered->release(data); },
               at::TensorOptions(device_).dtype(type))
        .zero_();
  }

 protected:
  std::unique_ptr<Work> launch_all_reduce(const at::Tensor& tensor, Reduction reduction,
                                          std::uint64_t number) override {
    if (reduction == Reduction::kTreeSum) return launch_tree_sum(tensor, number);
    return launch(tensor, number, [&] {
      return ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), static_cast<size_t>(tensor.numel()),
                           nccl_type(tensor.scalar_type()), nccl_operation(reduction), communicator_, stream_.stream());
    });
  }

  std::unique_ptr<Work> launch_broadcast(const at::Tensor& tensor, int root, std::uint64_t number) override {
    return launch(tensor, number, [&] {
      return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.nbytes(), ncclUint8, root, communicator_,
                           stream_.stream());
    });
  }

  std::unique_ptr<Work> launch_all_gather(const at::Tensor& tensor, const at::Tensor& gathered,
                                          std::uint64_t number) override {
    return launch(tensor, number, [&] {
      gathered.record_stream(stream_.unwrap());
      return ncclAllGather(tensor.data_ptr(), gathered.data_ptr(), tensor.nbytes(), ncclUint8, communicator_,
                           stream_.stream());
    });
  }

  std::unique_ptr<Work> launch_reduce_scatter(const at::Tensor& tensor, const at::Tensor& part,
                                              std::uint64_t number) override {
    return launch(tensor, number, [&] {
      part.record_stream(stream_.unwrap());
      return ncclReduceScatter(tensor.data_ptr(), part.data_ptr(), static_cast<size_t>(part.numel()),
                               nccl_type(tensor.scalar_type()), ncclSum, communicator_, stream_.stream());
    });
  }

  void declare_broken() override { world_.declare_broken(); }

 private:
  class NcclWork : public Work {
   public:
    NcclWork(NcclCommunicator& owner, std::uint64_t number, std::shared_ptr<at::cuda::CUDAEvent> started)
        : owner_(owner), number_(number), started_(std::move(started)) {
      ended_->record(owner.stream_);
    }
    // The host waits as well: an all-reduce whose partner is gone never ends on the device.
    void wait() override {
      const auto deadline = Clock::now() + owner_.timeout();
      bool was_done = true;
      while (!ended_->query()) {
        was_done = false;
        owner_.or_abort([&] {
          owner_.throw_if_failed();
          if (Clock::now() > deadline) owner_.time_out(number_);
        });
        std::this_thread::yield();
      }
      owner_.tell_times(number_, *started_, ended_, was_done);
      ended_->block(c10::cuda::getCurrentCUDAStream(owner_.device_.index()));
    }

   private:
    NcclCommunicator& owner_;
    std::uint64_t number_;
    std::shared_ptr<at::cuda::CUDAEvent> started_;
    std::shared_ptr<at::cuda::CUDAEvent> ended_ = timing_event();
  };

  static std::shared_ptr<at::cuda::CUDAEvent> timing_event() {
    return std::make_shared<at::cuda::CUDAEvent>(cudaEventDefault);
  }

  // Note [Time on the device]
  // Events tell the time between two of them, not the time of day. So the last operation's end is kept with the host's
  // time of it: exact where the host waited for it, else counted on from the one before.
  void anchor() {
    const c10::cuda::CUDAGuard guard(device_);
    last_end_ = timing_event();
    last_end_->record(stream_);
    last_end_->synchronize();
    last_end_time_ = Clock::now();
  }

  void tell_times(std::uint64_t number, const at::cuda::CUDAEvent& started,
                  const std::shared_ptr<at::cuda::CUDAEvent>& ended, bool was_done) {
    const auto between = [](const at::cuda::CUDAEvent& from, const at::cuda::CUDAEvent& to) {
      return std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<float, std::milli>(from.elapsed_time(to)));
    };
    const Clock::time_point now = Clock::now();
    const Clock::time_point end = was_done ? std::min(now, last_end_time_ + between(*last_end_, *ended)) : now;
    journal().start(number, end - between(started, *ended));
    journal().end(number, end);
    last_end_ = ended;
    last_end_time_ = end;
  }

  // On the communicator's stream, after what the current one has been given so far.
  template <typename Call>
  std::unique_ptr<Work> launch(const at::Tensor& tensor, std::uint64_t number, Call call) {
    const c10::cuda::CUDAGuard guard(device_);
    at::cuda::CUDAEvent ready;
    ready.record(c10::cuda::getCurrentCUDAStream(device_.index()));
    ready.block(stream_);
    tensor.record_stream(stream_.unwrap());
    auto started = timing_event();
    started->record(stream_);
    journal().start(number);
    settle(call(), "an NCCL call", number);
    return std::make_unique<NcclWork>(*this, number, std::move(started));
  }

  // NCCL chooses its own order of additions: all parts are collected and added here, by halves (Note [Sum tree]).
  std::unique_ptr<Work> launch_tree_sum(const at::Tensor& tensor, std::uint64_t number) {
    const at::Tensor gathered = at::empty({size(), tensor.numel()}, tensor.options());
    // Only what is dense is reduced, so that its memory is one row.
    const at::Tensor flat = tensor.as_strided({tensor.numel()}, {1});
    return launch(tensor, number, [&] {
      gathered.record_stream(stream_.unwrap());
      // Additions go onto the stream after it.
      settle(ncclAllGather(tensor.data_ptr(), gathered.data_ptr(), tensor.nbytes(), ncclUint8, communicator_,
                           stream_.stream()),
             "ncclAllGather", number);
      const c10::cuda::CUDAStreamGuard on_stream(stream_);
      at::Tensor parts = gathered;
      while (parts.size(0) > 1) parts = parts.slice(0, 0, std::nullopt, 2) + parts.slice(0, 1, std::nullopt, 2);
      flat.copy_(parts[0]);
      return ncclSuccess;
    });
  }

  // Note [A failure on the device]
  template <typename Call>
  void or_abort(const Call& call) {
    try {
      call();
    } catch (const std::exception& error) {
      spdlog::error("{}; NCCL is aborted", runtime::describe(error, 0, 1));
      registered_->forget_communicator();
      if (communicator_ != nullptr) ncclCommAbort(std::exchange(communicator_, nullptr));
      throw;
    }
  }

  // Calls of a non-blocking communicator may still be under way when they return.
  void settle(ncclResult_t result, const char* call, std::uint64_t number = 0) {
    or_abort([&] {
      const auto deadline = Clock::now() + timeout();
      while (result == ncclInProgress) {
        if (Clock::now() > deadline) time_out(number);
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        check(ncclCommGetAsyncError(communicator_, &result), "ncclCommGetAsyncError");
      }
      check(result, call);
    });
  }

  void throw_if_failed() {
    ncclResult_t result = ncclSuccess;
    check(ncclCommGetAsyncError(communicator_, &result), "ncclCommGetAsyncError");
    if (result != ncclInProgress) check(result, "an NCCL operation");
  }

  void check(ncclResult_t result, const char* call) const {
    if (result == ncclSuccess || result == ncclInProgress) return;
    throw runtime::Error(fmt::format("{}: {} ({})", call, ncclGetErrorString(result), ncclGetLastError(communicator_)));
  }

  runtime::World& world_;
  const at::Device device_;
  c10::cuda::CUDAStream stream_;
  ncclComm_t communicator_ = nullptr;
  const std::shared_ptr<RegisteredMemory> registered_ = std::make_shared<RegisteredMemory>();
  std::shared_ptr<at::cuda::CUDAEvent> last_end_;  // Note [Time on the device]
  Clock::time_point last_end_time_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(runtime::World& world, at::Device device,
                                                     std::chrono::milliseconds timeout) {
  return std::make_unique<NcclCommunicator>(world, device, timeout);
}

}  // namespace cskd::distributed
