#include "tests/doctor/healthy_world.h"

#include <optional>
#include <stdexcept>

#include <gtest/gtest.h>

#include "doctor/tournament.h"

namespace cskd::doctor {

RankFacts healthy_rank(int rank, int ranks_per_node) {
  RankFacts facts;
  facts.rank = rank;
  facts.local_rank = rank % ranks_per_node;
  facts.node = rank / ranks_per_node;
  facts.host = "n" + std::to_string(facts.node);
  facts.cpu = "a processor";
  facts.cores_online = 8;
  const int share = 8 / ranks_per_node;
  for (int core = facts.local_rank * share; core < (facts.local_rank + 1) * share; ++core) facts.cores.push_back(core);
  facts.memory_total = 64 * kGiB;
  facts.memory_available = 32 * kGiB;
  facts.shared_memory_free = 8 * kGiB;
  facts.limits.open_files = 65536;
  facts.features = "avx avx2 fma";
  facts.program_version = "0.1.0";
  facts.build = "0123456789abcdef";
  facts.configuration = "c0ffee";
  facts.libraries = {{"MPI", "Open MPI v4.1.4"}};
  facts.mpi_thread_level = "MPI_THREAD_MULTIPLE";
  facts.mpi_transports = {"tcp", "vader"};
  facts.compute = {.capability = "AVX2", .threads = share, .gflops = 100};
  facts.folder = {.path = "/data", .file_system = "ext4", .mounted_with = "rw", .free_bytes = 500 * kGiB};
  if (facts.local_rank == 0) {
    facts.disk = {.write_mb_per_second = 900, .read_mb_per_second = 1500, .commit_milliseconds = 3};
    facts.network.interfaces = {"eth0"};
  }
  return facts;
}

WorldFacts healthy_world(int hosts, int ranks_per_host) {
  WorldFacts world;
  world.launcher = hosts * ranks_per_host > 1 ? "mpirun" : "none";
  for (int rank = 0; rank < hosts * ranks_per_host; ++rank) world.ranks.push_back(healthy_rank(rank, ranks_per_host));
  for (const Round& round : tournament(hosts, 16)) {
    for (int from = 0; from < hosts; ++from) {
      const int to = round[static_cast<std::size_t>(from)];
      if (to < from) continue;
      // Links are never quite alike.
      world.ranks[static_cast<std::size_t>(from) * static_cast<std::size_t>(ranks_per_host)].network.links.push_back(
          {.from = from,
           .to = to,
           .latency_microseconds = 20.0 + (from + to) % 5,
           .mb_per_second = 1000.0 - (from * to) % 7 * 30});
    }
  }
  world.mpi = {.latency_microseconds = 5, .bus_gb_per_second = 4, .bytes = 25 << 20};
  return world;
}

RankFacts& host(WorldFacts& world, int node) {
  for (RankFacts& rank : world.ranks) {
    if (rank.node == node && rank.local_rank == 0) return rank;
  }
  throw std::out_of_range("no such host");
}

void change_links(WorldFacts& world, int node, const std::function<void(LinkFacts&)>& change) {
  for (RankFacts& rank : world.ranks) {
    for (LinkFacts& link : rank.network.links) {
      if (link.from == node || link.to == node) change(link);
    }
  }
}

WorldFacts world_with_gpus(int hosts, int each) {
  WorldFacts world = healthy_world(hosts, each);
  for (RankFacts& rank : world.ranks) {
    for (int i = 0; i < each; ++i) {
      rank.accelerators.gpus.push_back({.name = "H200",
                                        .uuid = "GPU-" + std::to_string(rank.node) + "-" + std::to_string(i),
                                        .compute_capability = "9.0",
                                        .memory_total = 141 * kGiB});
    }
    if (rank.local_rank != 0) continue;
    rank.gpu_health.driver = "580.82";
    for (int i = 0; i < each; ++i) {
      GpuState state;
      state.name = "H200";
      state.temperature = 40;
      state.slowdown_temperature = 90;
      state.link_width = 16;
      state.link_width_possible = 16;
      rank.gpu_health.gpus.push_back(state);
    }
    for (int i = 0; i < 2; ++i)
      rank.network.fabric.push_back(
          {"mlx5_" + std::to_string(i) + "/1", "ACTIVE", "400 Gb/sec (4X NDR)", "InfiniBand"});
  }
  return world;
}

Check find(const WorldFacts& world, const std::string& name) {
  std::optional<Check> found;
  for (const Check& check : judge(world)) {
    if (check.name == name && (!found || check.verdict > found->verdict)) found = check;
  }
  if (!found) ADD_FAILURE() << "no check named " << name;
  return found.value_or(Check{});
}

void expect_fine(const WorldFacts& world) {
  for (const Check& check : judge(world)) {
    EXPECT_EQ(check.verdict, Verdict::kFine) << check.name << ": " << check.found;
    EXPECT_EQ(check.remedy, "") << check.name;
  }
}

}  // namespace cskd::doctor
