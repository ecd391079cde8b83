#include "models/construction.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace cskd::models {
namespace {

// A dispatch key that PyTorch keeps free for modes of this kind; it comes before all others.
constexpr c10::DispatchKey kMode = c10::DispatchKey::TESTING_ONLY_GenericMode;

thread_local Construction current = Construction::kRandom;

constexpr std::array<std::string_view, 2> kDraws{"aten::normal_", "aten::uniform_"};

void construct(const c10::OperatorHandle& operation, c10::DispatchKeySet /*keys*/, torch::jit::Stack* stack) {
  const std::vector<c10::Argument>& arguments = operation.schema().arguments();
  if (std::ranges::find(kDraws, operation.schema().name()) != kDraws.end()) {
    torch::jit::drop(*stack, arguments.size() - 1);  // the tensor itself is the result
    return;
  }
  const c10::impl::ExcludeDispatchKeyGuard once(kMode);
  if (current == Construction::kShapes) {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      if (arguments[i].name() == "device")
        torch::jit::peek(*stack, i, arguments.size()) = c10::Device(c10::DeviceType::Meta);
    }
  }
  operation.callBoxed(stack);
}

}  // namespace

TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericMode, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&construct>());
}

ConstructionGuard::ConstructionGuard(Construction construction) : previous_(current) {
  current = construction;
  if (construction != Construction::kRandom) mode_.emplace(kMode);
}

ConstructionGuard::~ConstructionGuard() { current = previous_; }

}  // namespace cskd::models
