#include "training/checkpoint_writer.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "runtime/error.h"

namespace cskd::training {

using Clock = std::chrono::steady_clock;

// Where the tensors lie and what has to be done before they are copied. On a GPU: on a stream of its own, so that the
// copy goes on beside the computation, behind what the calling thread's stream was given before.
class CheckpointWriter::CopySource {
 public:
  explicit CopySource(const CheckpointContents& contents) {
    for (const NamedTensors* tensors : {&contents.model, &contents.average, &contents.optimizer}) {
      for (const auto& [name, tensor] : *tensors) {
        if (!tensor.is_cuda() || stream_) continue;
        const c10::impl::VirtualGuardImpl device(tensor.device().type());
        ready_ = std::make_shared<c10::Event>(tensor.device().type());
        ready_->record(device.getStream(tensor.device()));
        stream_ = device.getStreamFromGlobalPool(tensor.device());
      }
    }
  }

  // Copies go onto the stream as long as what it returns lives.
  std::unique_ptr<c10::StreamGuard> use() const {
    if (!stream_) return nullptr;
    ready_->block(*stream_);
    return std::make_unique<c10::StreamGuard>(*stream_);
  }
  void wait() const {
    if (stream_) stream_->synchronize();
  }

 private:
  std::shared_ptr<c10::Event> ready_;
  std::optional<c10::Stream> stream_;
};

CheckpointWriter::CheckpointWriter(Options options) : options_(std::move(options)) {}

CheckpointWriter::~CheckpointWriter() {
  try {
    finish();
  } catch (const std::exception& error) {
    spdlog::error("{}", runtime::describe(error, 0, 1));
  }
}

void CheckpointWriter::start(CheckpointContents contents) {
  take_result();
  if (failure_ && !options_.goes_on) std::rethrow_exception(failure_);
  std::promise<void> copied;
  copied_ = copied.get_future();
  written_ = std::async(std::launch::async, [this, copied = std::move(copied), contents = std::move(contents),
                                             source = CopySource(contents), start = Clock::now()]() mutable {
    try {
      copy(contents, source);
    } catch (...) {
      copied.set_exception(std::current_exception());
      throw;
    }
    copied.set_value();
    write(contents);
    const auto end = Clock::now();
    longest_write_ = std::max(longest_write_.load(), std::chrono::duration<double>(end - start).count());
    if (options_.trace != nullptr)
      options_.trace->add("checkpoint", fmt::format("checkpoint of step {}", contents.state.step()), start, end);
  });
}

// Dense copies in the processor's memory, which the files take as they are. From a GPU they go into pinned memory.
void CheckpointWriter::copy(CheckpointContents& contents, const CopySource& source) {
  const c10::AutoGradMode no_gradients(false);
  const auto on_stream = source.use();
  std::size_t position = 0;
  for (NamedTensors* tensors : {&contents.model, &contents.average, &contents.optimizer}) {
    for (auto& [name, tensor] : *tensors) {
      if (position == copies_.size()) copies_.emplace_back();
      at::Tensor& room = copies_[position++];
      if (!room.defined() || room.sizes() != tensor.sizes() || room.scalar_type() != tensor.scalar_type())
        room = at::empty(tensor.sizes(), at::TensorOptions(tensor.scalar_type()).pinned_memory(tensor.is_cuda()));
      room.copy_(tensor.detach(), /*non_blocking=*/tensor.is_cuda());
    }
  }
  source.wait();
  // Only now: tensors of a GPU must live until they were copied.
  position = 0;
  for (NamedTensors* tensors : {&contents.model, &contents.average, &contents.optimizer}) {
    for (auto& [name, tensor] : *tensors) tensor = copies_[position++];
  }
}

void CheckpointWriter::write(const CheckpointContents& contents) {
  write_checkpoint(options_.folder, contents, options_.before_commit);
  if (options_.written) options_.written(contents.state.step());
  const std::vector<CheckpointInfo> all = list_checkpoints(options_.folder);
  const std::vector<std::uint64_t> going = superfluous(all, options_.retention, contents.state.step());
  for (const CheckpointInfo& info : all) {
    if (std::ranges::find(going, info.step) != going.end()) remove_checkpoint(info.path);
  }
}

void CheckpointWriter::wait_until_copied() {
  if (copied_.valid()) copied_.get();
}

// Waits.
void CheckpointWriter::take_result() {
  wait_until_copied();
  if (!written_.valid()) return;
  try {
    written_.get();
    failure_ = nullptr;
  } catch (const std::exception& error) {
    failure_ = std::current_exception();
    if (options_.goes_on) spdlog::warn("training goes on without it: {}", runtime::describe(error, 0, 1));
  }
}

void CheckpointWriter::throw_if_failed() {
  if (written_.valid() && written_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) take_result();
  if (failure_ && !options_.goes_on) std::rethrow_exception(failure_);
}

void CheckpointWriter::finish() {
  take_result();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace cskd::training
