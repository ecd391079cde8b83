// The signs of life of all ranks, as rank 0 reads them: who is slow, and which part of the network is.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "distributed/link_quality.h"
#include "distributed/pace.h"
#include "runtime/world.h"

namespace cskd::launch {

class JobWatch {
 public:
  // Called, by a thread, on rank 0, when something changed: all that is to be looked at, a line each.
  using Tell = std::function<void(const std::vector<std::string>& warnings)>;

  // Collective. Takes the reports of the world's failure detector over. `world` must outlive it. News goes to the log.
  JobWatch(runtime::World& world, Tell tell);
  ~JobWatch();
  JobWatch(const JobWatch&) = delete;
  JobWatch& operator=(const JobWatch&) = delete;

  distributed::PaceMeter& pace() noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;  // the detector's thread may still be in a call
  runtime::World& world_;
};

}  // namespace cskd::launch
