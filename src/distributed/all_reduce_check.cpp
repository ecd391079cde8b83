#include "distributed/all_reduce_check.h"

#include <cstdint>
#include <memory>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "distributed/communicator.h"
#include "runtime/error.h"

namespace cskd::distributed {
namespace {

// The first number that is not what it must be; empty when all are.
std::string first_difference(const at::Tensor& found, const at::Tensor& expected, const std::string& what) {
  const at::Tensor differing = found.ne(expected).nonzero();
  if (differing.numel() == 0) return "";
  const auto place = differing[0].item<std::int64_t>();
  return fmt::format("{}: number {} of {} is {}, must be {}", what, place, found.numel(), found[place].item<double>(),
                     expected[place].item<double>());
}

}  // namespace

std::string check_all_reduce(runtime::World& world, std::chrono::milliseconds timeout) {
  std::unique_ptr<Communicator> communicator;
  try {
    communicator = make_communicator(world, timeout);
  } catch (const runtime::UsageError&) {
    return "";  // on every rank alike
  }
  const c10::InferenceMode no_gradients;
  std::string first_problem;  // the others go on, and so does this rank
  const auto note = [&](std::string problem) {
    if (first_problem.empty()) first_problem = std::move(problem);
  };
  const std::int64_t ranks = world.size();
  // A few numbers; then so many that they are cut up, and not evenly.
  for (const std::int64_t count : {std::int64_t{5}, std::int64_t{1'000'003}}) {
    const at::Tensor places = at::arange(count, at::TensorOptions().dtype(at::kLong).device(communicator->device()));
    struct Case {
      at::ScalarType type;
      const char* name;
    };
    for (const auto& [type, name] :
         {Case{at::kLong, "int64"}, Case{at::kFloat, "float32"}, Case{at::kDouble, "float64"}}) {
      // Quarters below 2^22: sums of up to 32,768 ranks are exact in float32, whatever their order.
      const at::Tensor parts = places.remainder(64).to(type) * (type == at::kLong ? 1.0 : 0.25);
      at::Tensor sum = (parts * (world.rank() % 8 + 1)).to(type);
      std::int64_t factor = 0;
      for (std::int64_t rank = 0; rank < ranks; ++rank) factor += rank % 8 + 1;
      communicator->all_reduce(sum, Reduction::kSum, "doctor");
      note(first_difference(sum, (parts * factor).to(type), fmt::format("{} sum of {}", communicator->name(), name)));
      at::Tensor largest = (parts * (world.rank() + 1)).to(type);
      communicator->all_reduce(largest, Reduction::kMax, "doctor");
      note(first_difference(largest, (parts * ranks).to(type),
                            fmt::format("{} maximum of {}", communicator->name(), name)));
    }
  }
  return first_problem;
}

}  // namespace cskd::distributed
