#include <algorithm>
#include <cstring>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>
#include <nccl.h>

#include "distributed/accelerators.h"
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
  }
  return ncclSum;
}

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(runtime::World& world, at::Device device, std::chrono::milliseconds timeout)
      : world_(world), device_(device), timeout_(timeout), stream_(c10::cuda::getStreamFromPool(true, device.index())) {
    refuse_shared_devices();
    const c10::cuda::CUDAGuard guard(device_);
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
  }

  ~NcclCommunicator() override {
    // Aborting never waits for the other ranks, which may be gone.
    if (communicator_ != nullptr) ncclCommAbort(communicator_);
  }

  std::string name() const override { return "nccl"; }
  int rank() const override { return world_.rank(); }
  int size() const override { return world_.size(); }
  at::Device device() const override { return device_; }

  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction reduction) override {
    return start("all-reduce", tensor, [&] {
      return ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), static_cast<size_t>(tensor.numel()),
                           nccl_type(tensor.scalar_type()), nccl_operation(reduction), communicator_, stream_.stream());
    });
  }

  void broadcast(const at::Tensor& tensor, int root) override {
    start("broadcast", tensor, [&] {
      return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.nbytes(), ncclUint8, root, communicator_,
                           stream_.stream());
    })->wait();
  }

  std::vector<at::Tensor> all_gather(const at::Tensor& tensor) override {
    std::vector<std::int64_t> shape = tensor.sizes().vec();
    shape.insert(shape.begin(), size());
    const at::Tensor gathered = at::empty(shape, tensor.options());
    start("all-gather", tensor, [&] {
      return ncclAllGather(tensor.data_ptr(), gathered.data_ptr(), tensor.nbytes(), ncclUint8, communicator_,
                           stream_.stream());
    })->wait();
    return gathered.unbind(0);
  }

 private:
  class NcclWork : public Work {
   public:
    NcclWork(NcclCommunicator& owner, const char* what) : owner_(owner), what_(what) { event_.record(owner.stream_); }
    // The host waits as well: an all-reduce whose partner is gone never ends on the device.
    void wait() override {
      const auto deadline = Clock::now() + owner_.timeout_;
      while (!event_.query()) {
        owner_.throw_if_failed(what_);
        if (Clock::now() > deadline) owner_.time_out(what_);
        std::this_thread::yield();
      }
      event_.block(c10::cuda::getCurrentCUDAStream(owner_.device_.index()));
    }

   private:
    NcclCommunicator& owner_;
    const char* what_;
    at::cuda::CUDAEvent event_;
  };

  template <typename Call>
  std::unique_ptr<Work> start(const char* what, const at::Tensor& tensor, Call call) {
    CSKD_CHECK(tensor.is_non_overlapping_and_dense() && tensor.device() == device_, "NCCL needs dense tensors on {}",
               device_.str());
    const c10::cuda::CUDAGuard guard(device_);
    at::cuda::CUDAEvent ready;
    ready.record(c10::cuda::getCurrentCUDAStream(device_.index()));
    ready.block(stream_);
    tensor.record_stream(stream_.unwrap());
    settle(call(), what);
    return std::make_unique<NcclWork>(*this, what);
  }

  // Calls of a non-blocking communicator may still be under way when they return.
  void settle(ncclResult_t result, const char* call) {
    const auto deadline = Clock::now() + timeout_;
    while (result == ncclInProgress) {
      if (Clock::now() > deadline) time_out(call);
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      check(ncclCommGetAsyncError(communicator_, &result), "ncclCommGetAsyncError");
    }
    check(result, call);
  }

  void throw_if_failed(const char* what) {
    ncclResult_t result = ncclSuccess;
    check(ncclCommGetAsyncError(communicator_, &result), "ncclCommGetAsyncError");
    if (result != ncclInProgress) check(result, what);
  }

  [[noreturn]] void time_out(const char* what) {
    world_.declare_broken();
    throw runtime::Error(
        fmt::format("NCCL's {} on rank {} of {} was not done after {} s: another rank ended or is stuck", what, rank(),
                    size(), timeout_.count() / 1000));
  }

  void check(ncclResult_t result, const char* call) const {
    if (result == ncclSuccess || result == ncclInProgress) return;
    throw runtime::Error(fmt::format("{}: {} ({})", call, ncclGetErrorString(result), ncclGetLastError(communicator_)));
  }

  void refuse_shared_devices() {
    const std::string uuid = find_accelerators().gpus.at(static_cast<size_t>(device_.index())).uuid;
    const std::vector<std::string> all = world_.all_gather(world_.host() + " " + uuid);
    for (int other = 0; other < world_.size(); ++other) {
      if (other != world_.rank() && all[static_cast<size_t>(other)] == all[static_cast<size_t>(world_.rank())]) {
        throw runtime::Error(
            fmt::format("ranks {} and {} share the GPU {} on {}; NCCL refuses that: start one rank for each GPU",
                        world_.rank(), other, uuid, world_.host()));
      }
    }
  }

  runtime::World& world_;
  const at::Device device_;
  const std::chrono::milliseconds timeout_;
  c10::cuda::CUDAStream stream_;
  ncclComm_t communicator_ = nullptr;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(runtime::World& world, at::Device device,
                                                     std::chrono::milliseconds timeout) {
  return std::make_unique<NcclCommunicator>(world, device, timeout);
}

}  // namespace cskd::distributed
