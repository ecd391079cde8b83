#include "distributed/communicator.h"

#include <bit>
#include <thread>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "distributed/devices/accelerators.h"
#include "distributed/devices/device_choice.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::distributed {
namespace {

// A fault: the operation never begins on this rank, nor do those behind it.
class LostWork : public Work {
 public:
  explicit LostWork(std::function<void()> time_out) : time_out_(std::move(time_out)) {}
  void wait() override { time_out_(); }

 private:
  std::function<void()> time_out_;
};

// A fault: one bit of the result is turned.
class CorruptedWork : public Work {
 public:
  CorruptedWork(std::unique_ptr<Work> work, at::Tensor result) : work_(std::move(work)), result_(std::move(result)) {}
  void wait() override {
    work_->wait();
    const c10::InferenceMode no_gradients;
    at::Tensor bytes = result_.flatten().narrow(0, 0, 1).view(at::kByte);
    bytes.narrow(0, bytes.numel() - 2, 1).bitwise_xor_(0x40);
  }

 private:
  std::unique_ptr<Work> work_;
  at::Tensor result_;
};

}  // namespace

template <typename Launch>
std::unique_ptr<Work> Communicator::start(const char* kind, const at::Tensor& tensor, std::string label,
                                          const Launch& launch) {
  CSKD_CHECK(tensor.is_non_overlapping_and_dense() && tensor.device() == device(), "{} needs dense tensors on {}", kind,
             device().str());
  const std::uint64_t number = journal_->queue(kind, tensor.nbytes(), std::move(label));
  const std::optional<FaultAction> fault = faults_.strike(kind);
  is_lost_ = is_lost_ || fault == FaultAction::kDrop;
  if (is_lost_) {
    return std::make_unique<LostWork>([this, number] {
      std::this_thread::sleep_for(timeout_);
      time_out(number);
    });
  }
  std::unique_ptr<Work> work = launch(number);
  if (fault == FaultAction::kCorrupt) return std::make_unique<CorruptedWork>(std::move(work), tensor);
  return work;
}

std::unique_ptr<Work> Communicator::start_all_reduce(const at::Tensor& tensor, Reduction reduction, std::string label) {
  CSKD_CHECK(reduction != Reduction::kTreeSum || std::has_single_bit(static_cast<unsigned>(size_)),
             "{} ranks have no tree", size_);
  return start("all-reduce", tensor, std::move(label),
               [&](std::uint64_t number) { return launch_all_reduce(tensor, reduction, number); });
}

void Communicator::all_reduce(const at::Tensor& tensor, Reduction reduction, std::string label) {
  start_all_reduce(tensor, reduction, std::move(label))->wait();
}

void Communicator::broadcast(const at::Tensor& tensor, int root, std::string label) {
  CSKD_CHECK(root >= 0 && root < size_, "root {} of {} ranks", root, size_);
  start("broadcast", tensor, std::move(label), [&](std::uint64_t number) {
    return launch_broadcast(tensor, root, number);
  })->wait();
}

std::vector<at::Tensor> Communicator::all_gather(const at::Tensor& tensor, std::string label) {
  std::vector<std::int64_t> shape = tensor.sizes().vec();
  shape.insert(shape.begin(), size_);
  const at::Tensor gathered = at::empty(shape, tensor.options());
  start("all-gather", tensor, std::move(label), [&](std::uint64_t number) {
    return launch_all_gather(tensor.contiguous(), gathered, number);
  })->wait();
  return gathered.unbind(0);
}

at::Tensor Communicator::reduce_scatter(const at::Tensor& tensor, std::string label) {
  CSKD_CHECK(tensor.is_contiguous() && tensor.dim() >= 1 && tensor.size(0) % size_ == 0,
             "reduce_scatter of {} rows on {} ranks", tensor.dim() >= 1 ? tensor.size(0) : 0, size_);
  std::vector<std::int64_t> shape = tensor.sizes().vec();
  shape[0] /= size_;
  at::Tensor part = at::empty(shape, tensor.options());
  start("reduce-scatter", tensor, std::move(label), [&](std::uint64_t number) {
    return launch_reduce_scatter(tensor, part, number);
  })->wait();
  return part;
}

void Communicator::barrier() {
  all_reduce(at::zeros({1}, at::TensorOptions().device(device())), Reduction::kSum, "barrier");
}

at::Tensor Communicator::allocate(std::int64_t numbers, at::ScalarType type) {
  return at::zeros({numbers}, at::TensorOptions(device()).dtype(type));
}

void Communicator::time_out(std::uint64_t number) {
  declare_broken();
  const Collective slow = journal_->collective(number).value_or(Collective{.number = number, .kind = "collective"});
  std::string text = fmt::format("{} on rank {} of {} was not done after {:.1f} s", describe(slow), rank_, size_,
                                 std::chrono::duration<double>(timeout_).count());
  throw runtime::Error(text + (investigate_ ? ": " + investigate_(slow) : ": another rank ended or is stuck"));
}

std::unique_ptr<Communicator> make_communicator(runtime::World& world, std::chrono::milliseconds timeout) {
  VisibleGpus own{.host = world.host(), .local_rank = world.local_rank(), .uuids = {}};
  for (const Gpu& gpu : find_accelerators().gpus) own.uuids.push_back(gpu.uuid);
  std::vector<VisibleGpus> all;
  for (const std::string& text : world.all_gather(pack(own))) all.push_back(unpack_gpus(text));
  if (const auto devices = choose_gpus(all)) {
    const int device = (*devices)[static_cast<std::size_t>(world.rank())];
    return make_nccl_communicator(world, at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device)), timeout);
  }
  if (world.size() > 1) return make_mpi_communicator(world, timeout);
  return make_local_communicator(at::kCPU);
}

}  // namespace cskd::distributed
