// The micro-batches of a training, made ahead on loader threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "batches/batches.h"
#include "data/sampler.h"
#include "run/context.h"

namespace cskd::batches {

// How micro-batches of `samples` samples are made; see data::BatchMaker.
template <typename Batch>
struct MicroBatchMaker {
  // For the samples from `position` of the stage's streams on.
  std::function<Batch(std::uint64_t position, std::uint64_t samples)> begin;
  std::function<void(Batch& batch, std::uint64_t item)> fill;
  std::uint64_t items = 0;  // of a micro-batch
  std::uint64_t bytes = 0;
};

// This rank's micro-batches, made ahead on loader threads, from `first_step` to the end of the training.
template <typename Batch>
class MicroBatchLoader {
 public:
  // Throws UsageError as make_batch_layout().
  MicroBatchLoader(const run::Context& context, const std::string& stage, const config::Training& training,
                   std::uint64_t first_step, MicroBatchMaker<Batch> maker) {
    const data::BatchLayout layout =
        data::make_batch_layout((stage + ".training").c_str(), training.global_batch(), training.micro_batches(),
                                context.world.rank(), context.world.size());
    const std::uint64_t bytes = maker.bytes;
    data::BatchMaker<Batch> by_ticket{.begin =
                                          [layout, begin = std::move(maker.begin)](std::uint64_t ticket) {
                                            return begin(layout.position(ticket / layout.own(), ticket % layout.own()),
                                                         layout.samples());
                                          },
                                      .fill = std::move(maker.fill),
                                      .items = [items = maker.items](std::uint64_t) { return items; }};
    loader_ = make_loader<Batch>(context, bytes, first_step * layout.own(), training.steps() * layout.own(),
                                 std::move(by_ticket));
  }

  // The next batch, and how long the caller waited for it.
  Batch next(double& seconds_waited) {
    const auto start = std::chrono::steady_clock::now();
    Batch batch = loader_->next();
    seconds_waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return batch;
  }

 private:
  std::unique_ptr<data::Loader<Batch>> loader_;
};

}  // namespace cskd::batches
