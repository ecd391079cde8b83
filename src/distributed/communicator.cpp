#include "distributed/communicator.h"

#include "distributed/accelerators.h"
#include "runtime/check.h"

namespace cskd::distributed {
namespace {

class LocalWork : public Work {
 public:
  void wait() override {}
};

class LocalCommunicator : public Communicator {
 public:
  explicit LocalCommunicator(at::Device device) : device_(device) {}
  std::string name() const override { return "local"; }
  int rank() const override { return 0; }
  int size() const override { return 1; }
  at::Device device() const override { return device_; }
  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor, Reduction) override {
    CSKD_CHECK(tensor.is_non_overlapping_and_dense(), "all_reduce needs a dense tensor");
    return std::make_unique<LocalWork>();
  }
  void broadcast(const at::Tensor&, int root) override { CSKD_CHECK(root == 0, "root {} in a world of one", root); }
  std::vector<at::Tensor> all_gather(const at::Tensor& tensor) override { return {tensor.clone()}; }

 private:
  at::Device device_;
};

}  // namespace

void Communicator::barrier() { all_reduce(at::zeros({1}, at::TensorOptions().device(device())), Reduction::kSum); }

std::unique_ptr<Communicator> make_local_communicator(at::Device device) {
  return std::make_unique<LocalCommunicator>(device);
}

std::unique_ptr<Communicator> make_communicator(runtime::World& world, std::chrono::milliseconds timeout) {
  const auto gpus = static_cast<int>(find_accelerators().gpus.size());
  // One visible device a rank (as Slurm binds them) or all of a node's devices in each rank.
  const bool has_gpu = gpus == 1 ? true : gpus >= world.local_size();
  if (gpus > 0 && !world.any(!has_gpu)) {
    const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(gpus == 1 ? 0 : world.local_rank()));
    return make_nccl_communicator(world, device, timeout);
  }
  if (world.size() > 1) return make_mpi_communicator(world, timeout);
  return make_local_communicator(at::kCPU);
}

}  // namespace cskd::distributed
