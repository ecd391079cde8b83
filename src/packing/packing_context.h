// The context that the parts of packing work with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "config/config.pb.h"
#include "runtime/world.h"

namespace cskd::packing {

struct PackingContext {
  const config::Config& config;
  runtime::World& world;
  std::filesystem::path folder;  // <run>/shards
  int threads = 1;               // of this rank
  // Rank 0: how far it is.
  std::function<void(const std::string& what, std::int64_t done, std::int64_t total)> progress;
};

}  // namespace cskd::packing
