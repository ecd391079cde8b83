#include "distributed/communicator.h"
#include "runtime/error.h"

namespace cskd::distributed {

std::unique_ptr<Communicator> make_nccl_communicator(runtime::World&, at::Device, std::chrono::milliseconds) {
  throw runtime::UsageError("this cskd was built without NCCL: GPUs need a CUDA build of LibTorch");
}

}  // namespace cskd::distributed
