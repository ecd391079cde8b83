#include "doctor/checks.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/report.h"
#include "doctor/tournament.h"

namespace cskd::doctor {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

// Rank `rank` of a healthy job with `ranks_per_node` ranks on nodes of 8 cores, bound to its share of them.
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
      world.ranks[static_cast<std::size_t>(from * ranks_per_host)].network.links.push_back(
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

// All links of a host.
void change_links(WorldFacts& world, int node, const std::function<void(LinkFacts&)>& change) {
  for (RankFacts& rank : world.ranks) {
    for (LinkFacts& link : rank.network.links) {
      if (link.from == node || link.to == node) change(link);
    }
  }
}

// Every host has as many GPUs as ranks.
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

distributed::Gpu gpu(const std::string& uuid) {
  return {.name = "H200", .uuid = uuid, .compute_capability = "9.0", .memory_total = 141 * kGiB};
}

// The worst of that name.
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

TEST(Checks, AHealthyWorldIsFineWhateverItsSize) {
  for (const auto& [hosts, ranks] : {std::pair(1, 1), std::pair(1, 4), std::pair(2, 1), std::pair(3, 2),
                                     std::pair(8, 4), std::pair(100, 8), std::pair(1000, 8)}) {
    expect_fine(healthy_world(hosts, ranks));
  }
  for (const auto& [hosts, ranks] : {std::pair(1, 1), std::pair(2, 8), std::pair(3, 4), std::pair(100, 8)})
    expect_fine(world_with_gpus(hosts, ranks));
}

struct Trouble {
  const char* name;
  std::function<void(WorldFacts&)> make;
  const char* check;
  Verdict verdict;
  const char* found;
  const char* remedy;
};

void PrintTo(const Trouble& trouble, std::ostream* out) { *out << trouble.name; }

class Troubles : public testing::TestWithParam<Trouble> {};

TEST_P(Troubles, AreFoundWithPlaceAndRemedy) {
  WorldFacts world = healthy_world(2, 4);
  GetParam().make(world);
  const Check check = find(world, GetParam().check);
  EXPECT_EQ(check.verdict, GetParam().verdict);
  EXPECT_THAT(check.found, HasSubstr(GetParam().found));
  EXPECT_THAT(check.remedy, HasSubstr(GetParam().remedy));
}

const Trouble kTroubles[] = {
    {"OtherLibrary", [](WorldFacts& w) { w.ranks[3].libraries["MPI"] = "Open MPI v5"; }, "program", Verdict::kWrong,
     "n0 has MPI Open MPI v5, the others Open MPI v4.1.4", "same libraries"},
    {"OtherProcessor", [](WorldFacts& w) { host(w, 1).features = "avx"; }, "processors", Verdict::kSlow,
     "n1: a processor with avx; the others have avx avx2 fma", "--constraint"},
    {"OtherConfiguration",
     [](WorldFacts& w) {
       for (RankFacts& rank : w.ranks) rank.settings = {{"run.seed", "1"}, {"run.folder", "\"/data\""}};
       w.ranks[6].settings["run.seed"] = "2";
       w.ranks[6].configuration = "other";
     },
     "configuration", Verdict::kWrong, "n1 read another one: run.seed is 2 there, 1 elsewhere", "same file"},
    {"UnreadConfiguration",
     [](WorldFacts& w) { w.ranks[4].configuration_problem = "cannot open big.toml: No such file or directory"; },
     "configuration", Verdict::kWrong, "n1: cannot open big.toml", "all hosts see"},
    {"OverlappingCores",
     [](WorldFacts& w) {
       w.ranks[4].cores = {0, 1, 2};
     },
     "cores", Verdict::kSlow, "ranks of n1 are bound to cores that overlap", "cores of its own"},
    {"MoreRanksThanCores",
     [](WorldFacts& w) {
       for (RankFacts& rank : w.ranks) rank.cores = {0, 1};
     },
     "cores", Verdict::kSlow, "4 ranks share 2 cores of n0", "fewer ranks"},
    {"BoundToOneCore",
     [](WorldFacts& w) {
       for (RankFacts& rank : w.ranks) rank.cores = {rank.local_rank};
     },
     "cores", Verdict::kSlow, "may use 4 of its 8 cores", "--bind-to none"},
    {"NoAvx2",
     [](WorldFacts& w) {
       w.ranks[0].compute = {"DEFAULT", 2, 5};
     },
     "compute", Verdict::kSlow, "5 GFLOP/s", "AVX2"},
    {"OneSlowRank", [](WorldFacts& w) { w.ranks[6].compute.gflops = 20; }, "compute", Verdict::kSlow,
     "rank 6 on n1 reaches 20 GFLOP/s", "wait for the slowest"},
    {"OneSlowHost",
     [](WorldFacts& w) {
       for (RankFacts& rank : w.ranks) rank.compute.gflops = rank.node == 1 ? 80 : 100;
     },
     "compute", Verdict::kSlow, "n1 is slow: 80 GFLOP/s a rank, 100 elsewhere", "leave it out"},
    {"LittleMemory", [](WorldFacts& w) { w.ranks[4].memory_available = 4 * kGiB; }, "memory", Verdict::kSlow,
     "1.0 GiB available for each rank on n1", "fewer ranks a host"},
    {"SmallSharedMemory", [](WorldFacts& w) { w.ranks[1].shared_memory_free = 64 << 20; }, "limits", Verdict::kSlow,
     "n0: 64.0 MiB free in /dev/shm", "--shm-size"},
    {"FewOpenFiles", [](WorldFacts& w) { w.ranks[1].limits.open_files = 256; }, "limits", Verdict::kSlow,
     "n0: 256 open files", "ulimit -n"},
    {"FewThreads", [](WorldFacts& w) { w.ranks[5].limits.processes = 100; }, "limits", Verdict::kSlow,
     "n1: 100 processes and threads", "ulimit -u"},
    {"SmallStack", [](WorldFacts& w) { w.ranks[5].limits.stack = 1 << 16; }, "limits", Verdict::kSlow,
     "n1: 64.0 KiB of stack", "ulimit -s"},
    {"LittleLockedMemoryWithRdma",
     [](WorldFacts& w) {
       for (RankFacts& rank : w.ranks) {
         if (rank.local_rank == 0) rank.network.fabric = {{"mlx5_0/1", "ACTIVE", "100 Gb/sec", "InfiniBand"}};
         rank.limits.locked_memory = 8 << 20;
       }
     },
     "limits", Verdict::kSlow, "n0 and n1: 8.0 MiB of locked memory", "ulimit -l unlimited"},
    {"DecimalComma",
     [](WorldFacts& w) {
       w.ranks[5].locale = {"de_DE.UTF-8", ",", ","};
     },
     "numbers", Verdict::kWrong, "n1: ',' is the decimal point (locale de_DE.UTF-8)", "LC_ALL=C.UTF-8"},
    {"DecimalCommaInWaiting",
     [](WorldFacts& w) {
       w.ranks[5].locale = {"de_DE.UTF-8", ",", "."};
     },
     "numbers", Verdict::kSlow, "n1: the locale de_DE.UTF-8 has ','", "LC_NUMERIC=C"},
    {"OldDriver", [](WorldFacts& w) { w.ranks[4].accelerators.problem = "driver too old"; }, "GPUs", Verdict::kWrong,
     "n1: driver too old", "update the driver"},
    {"TwoRanksOnOneGpu",
     [](WorldFacts& w) {
       for (RankFacts& rank : w.ranks) rank.accelerators.gpus = {gpu("a"), gpu("b")};
     },
     "GPUs", Verdict::kWrong, "4 ranks share 2 GPUs of n0", "one rank a GPU"},
    {"IdleGpus",
     [](WorldFacts& w) {
       for (RankFacts& rank : w.ranks) {
         for (const char* uuid : {"a", "b", "c", "d", "e"}) rank.accelerators.gpus.push_back(gpu(uuid));
       }
     },
     "GPUs", Verdict::kSlow, "1 of 5 GPUs of n0 stay idle", "one rank a GPU"},
    {"HostsWithDifferentGpus", [](WorldFacts& w) { w.ranks[4].accelerators.gpus = {gpu("a")}; }, "GPUs",
     Verdict::kWrong, "n1 sees 1 GPU, the others 0", "--gpus-per-node"},
    {"SlowLatency", [](WorldFacts& w) { w.mpi.latency_microseconds = 32000; }, "MPI", Verdict::kSlow, "32000.0 us",
     "yield_when_idle"},
    {"SlowNetwork", [](WorldFacts& w) { w.mpi.bus_gb_per_second = 0.01; }, "MPI", Verdict::kSlow, "0.01 GB/s", "UCX"},
    {"WrongSums",
     [](WorldFacts& w) { w.ranks[6].all_reduce_problem = "mpi sum of float32: number 3 of 5 is 7, must be 8"; }, "sums",
     Verdict::kWrong, "rank 6 on n1: mpi sum of float32: number 3 of 5 is 7, must be 8", "leave that host out"},
    {"ClocksApart",
     [](WorldFacts& w) {
       host(w, 1).clock = {2, 1e-4};
     },
     "clocks", Verdict::kSlow, "n1 is 2.0 s ahead of n0 (known to 0.1 ms)", "chrony"},
    {"ClocksFarApart",
     [](WorldFacts& w) {
       host(w, 1).clock = {-90, 1e-4};
     },
     "clocks", Verdict::kWrong, "n1 is 90.0 s behind n0", "chrony"},
    {"SlowLinkOfTwoHosts", [](WorldFacts& w) { change_links(w, 1, [](LinkFacts& link) { link.mb_per_second = 8; }); },
     "links", Verdict::kSlow, "n0 and n1: 8.0 MB/s, 21 us", "the network between them"},
    {"LateLinkOfTwoHosts",
     [](WorldFacts& w) { change_links(w, 1, [](LinkFacts& link) { link.latency_microseconds = 25000; }); }, "links",
     Verdict::kSlow, "n0 and n1: 1.0 GB/s, 25.0 ms", "the network between them"},
    {"DamagedLink", [](WorldFacts& w) { change_links(w, 1, [](LinkFacts& link) { link.is_damaged = true; }); }, "links",
     Verdict::kWrong, "what n0 sent to n1 came back changed", "leave one of the two out"},
    {"LostPackets",
     [](WorldFacts& w) {
       host(w, 1).network.segments = {10000, 150};
     },
     "links", Verdict::kSlow, "n1 had to send 1.5 % of its TCP packets again", "packets get lost"},
    {"MissingInterface",
     [](WorldFacts& w) {
       for (RankFacts& rank : w.ranks) rank.environment["NCCL_SOCKET_IFNAME"] = "ib0";
       host(w, 0).network.interfaces = {"eth0", "ib0"};
     },
     "NCCL_SOCKET_IFNAME", Verdict::kWrong, "'ib0', but n1 has eth0", "up on every host"},
    {"ReadOnlyRunFolder", [](WorldFacts& w) { host(w, 1).folder.problem = "is on a read-only file system"; },
     "run folder", Verdict::kWrong, "/data on n1 is on a read-only file system", "run.folder"},
    {"RunFolderNotThere", [](WorldFacts& w) { host(w, 1).folder.problem = "is not there"; }, "run folder",
     Verdict::kWrong, "/data on n1 is not there", "all hosts mount"},
    {"RunFolderNotShared",
     [](WorldFacts& w) {
       host(w, 0).folder.file_system = "nfs4";
       host(w, 1).shared.sees_rank_zero = false;
     },
     "run folder", Verdict::kWrong, "n1 does not see what rank 0 on n0 writes to /data (ext4 there, nfs4 on n0)",
     "all hosts mount"},
    {"RunFolderSharedOneWay", [](WorldFacts& w) { host(w, 1).shared.seen_by_rank_zero = false; }, "run folder",
     Verdict::kWrong, "rank 0 on n0 does not see what n1 writes to /data", "all hosts mount"},
    {"FewInodes", [](WorldFacts& w) { host(w, 0).folder.free_inodes = 5; }, "run folder", Verdict::kWrong,
     "room for 5 more files", "another run.folder"},
    {"SeenLate", [](WorldFacts& w) { host(w, 1).shared.seen_after_seconds = 3.5; }, "file system", Verdict::kSlow,
     "n1 saw a new file only 3.5 s after", "actimeo"},
    {"ReplacementNotSeen",
     [](WorldFacts& w) {
       host(w, 1).shared.sees_replacement = false;
       host(w, 1).shared.replaced_after_seconds = 10;
     },
     "file system", Verdict::kSlow,
     "n1 went on seeing the old contents of a file that was replaced, for more than 10.0 s", "actimeo"},
    {"NoFlock",
     [](WorldFacts& w) {
       for (RankFacts& rank : w.ranks) rank.shared.flock = "ENOSYS";
     },
     "file system", Verdict::kSlow, "no locks (flock) on /data at n0 and n1: ENOSYS", "waits up to a minute"},
    {"FlockOfOneHost", [](WorldFacts& w) { host(w, 1).shared.flock = "only on one host"; }, "file system",
     Verdict::kSlow, "do not reach other hosts", "waits up to a minute"},
    {"RunFolderInMemory", [](WorldFacts& w) { host(w, 0).folder.file_system = "tmpfs"; }, "file system", Verdict::kSlow,
     "/data is in memory (tmpfs)", "on a disk"},
    {"LittleSpace", [](WorldFacts& w) { w.free_bytes_needed = 600 * kGiB; }, "run folder", Verdict::kWrong,
     "500.0 GiB free", "asks for 600.0 GiB"},
    {"SlowDisk", [](WorldFacts& w) { w.ranks[4].disk.write_mb_per_second = 12; }, "disk", Verdict::kSlow,
     "12 MB/s write, 1500 MB/s read, 3.0 ms to commit a file on n1", "faster run.folder"},
    {"SlowCommits",
     [](WorldFacts& w) {
       w.ranks[0].disk.commit_milliseconds = 900;
       w.ranks[4].disk.commit_milliseconds = 900;
     },
     "disk", Verdict::kSlow, "900.0 ms", "less frequent"},
    {"MissingSource",
     [](WorldFacts& w) {
       for (const int node : {0, 1}) host(w, node).sources = {{"beach", "/photos", node == 1 ? "does not exist" : ""}};
     },
     "source beach", Verdict::kWrong, "/photos on n1: does not exist", "mount it on every host"},
    {"TooManyThreads",
     [](WorldFacts& w) {
       for (RankFacts& r : w.ranks) r.environment["OMP_NUM_THREADS"] = "64";
     },
     "OMP_NUM_THREADS", Verdict::kSlow, "64, but a rank may use 2 cores", "unset it"},
    {"SenselessThreads",
     [](WorldFacts& w) {
       for (RankFacts& r : w.ranks) r.environment["OMP_NUM_THREADS"] = "four";
     },
     "OMP_NUM_THREADS", Verdict::kWrong, "four", "whole number"},
    {"PinnedThreadsOfUnboundRanks",
     [](WorldFacts& w) {
       for (RankFacts& r : w.ranks) {
         r.cores = {0, 1, 2, 3, 4, 5, 6, 7};
         r.environment["OMP_PROC_BIND"] = "true";
       }
     },
     "OMP_PROC_BIND", Verdict::kSlow, "the 4 ranks of n0 may use the same cores", "unset it"},
    {"LockingOnNfs",
     [](WorldFacts& w) {
       w.ranks[0].folder.file_system = "nfs4";
       for (RankFacts& r : w.ranks) r.environment["HDF5_USE_FILE_LOCKING"] = "TRUE";
     },
     "HDF5_USE_FILE_LOCKING", Verdict::kSlow, "TRUE on nfs4", "unset it"},
    {"BlockingLaunches",
     [](WorldFacts& w) {
       for (RankFacts& r : w.ranks) r.environment["CUDA_LAUNCH_BLOCKING"] = "1";
     },
     "CUDA_LAUNCH_BLOCKING", Verdict::kSlow, "1", "unset it"},
    {"UnequalEnvironment", [](WorldFacts& w) { w.ranks[6].environment["NCCL_DEBUG"] = "INFO"; }, "environment",
     Verdict::kSlow, "NCCL_DEBUG is 'INFO' for rank 6 on n1, but not set for rank 0", "mpirun -x"},
};

INSTANTIATE_TEST_SUITE_P(Each, Troubles, testing::ValuesIn(kTroubles),
                         [](const auto& instance) { return std::string(instance.param.name); });

const Trouble kGpuTroubles[] = {
    {"OtherKind",
     [](WorldFacts& w) {
       for (RankFacts& rank : w.ranks) {
         if (rank.node == 2) rank.accelerators.gpus.front().name = "H100";
       }
     },
     "GPU kinds", Verdict::kSlow, "n2: H100, elsewhere H200", "--constraint"},
    {"OtherDriver", [](WorldFacts& w) { host(w, 1).gpu_health.driver = "550.1"; }, "GPU kinds", Verdict::kSlow,
     "n1: driver 550.1, elsewhere 580.82", "same driver"},
    {"EccErrors", [](WorldFacts& w) { host(w, 1).gpu_health.gpus[3].uncorrected_errors = 2; }, "GPU health",
     Verdict::kWrong, "GPU 3 of n1: 2 uncorrected errors of memory", "leave that host out"},
    {"RowsNotReplaced", [](WorldFacts& w) { host(w, 1).gpu_health.gpus[3].rows_failed = true; }, "GPU health",
     Verdict::kWrong, "GPU 3 of n1: memory rows that could not be replaced", "leave that host out"},
    {"RowsPending", [](WorldFacts& w) { host(w, 1).gpu_health.gpus[3].rows_pending = true; }, "GPU health",
     Verdict::kSlow, "GPU 3 of n1", "reset that GPU"},
    {"Prohibited", [](WorldFacts& w) { host(w, 1).gpu_health.gpus[3].compute_mode = "prohibited"; }, "GPU health",
     Verdict::kWrong, "compute mode is prohibited", "nvidia-smi -c DEFAULT"},
    {"Hot",
     [](WorldFacts& w) {
       for (GpuState& gpu : host(w, 1).gpu_health.gpus) gpu.temperature = 88;
       host(w, 2).gpu_health.gpus[0].temperature = 86;
     },
     "GPU health", Verdict::kSlow, "GPU 0 of n1: 88 degrees C, slows down at 90, and 4 others on n1 and n2", "cooling"},
    {"Throttled", [](WorldFacts& w) { host(w, 1).gpu_health.gpus[3].throttling = {"power brake"}; }, "GPU health",
     Verdict::kSlow, "runs below its clock: power brake", "cooling and power"},
    {"Xid", [](WorldFacts& w) { host(w, 1).gpu_health.gpus[3].xid = "79, GPU has fallen off the bus."; }, "GPU health",
     Verdict::kSlow, "GPU 3 of n1: the kernel's log has Xid 79", "Xid list"},
    {"OtherProcesses", [](WorldFacts& w) { host(w, 1).gpu_health.gpus[3].other_processes = 1; }, "GPU health",
     Verdict::kSlow, "1 process besides this job", "--exclusive"},
    {"FewLanes", [](WorldFacts& w) { host(w, 1).gpu_health.gpus[3].link_width = 4; }, "GPU health", Verdict::kSlow,
     "4 of 16 lanes of PCIe", "looked at"},
    {"NotPersistent", [](WorldFacts& w) { host(w, 1).gpu_health.gpus[3].persistence = false; }, "GPU health",
     Verdict::kSlow, "persistence mode is off", "nvidia-smi -pm 1"},
    {"NoAnswer", [](WorldFacts& w) { host(w, 1).gpu_health.problem = "GPU 2 does not answer (error 15)"; },
     "GPU health", Verdict::kSlow, "n1: GPU 2 does not answer", "nvidia-smi"},
    {"PortDown", [](WorldFacts& w) { host(w, 1).network.fabric[1].state = "DOWN"; }, "RDMA", Verdict::kSlow,
     "n1: 1 port active, elsewhere 2 (mlx5_1/1 is DOWN)", "leave that host out"},
    {"PortAtALowerRate", [](WorldFacts& w) { host(w, 1).network.fabric[1].rate = "100 Gb/sec (4X EDR)"; }, "RDMA",
     Verdict::kSlow, "n1: 400 Gb/sec (4X NDR), 100 Gb/sec (4X EDR), elsewhere", "lower rate"},
};

class GpuTroubles : public testing::TestWithParam<Trouble> {};

TEST_P(GpuTroubles, AreFoundWithPlaceAndRemedy) {
  WorldFacts world = world_with_gpus(3, 4);
  GetParam().make(world);
  const Check check = find(world, GetParam().check);
  EXPECT_EQ(check.verdict, GetParam().verdict);
  EXPECT_THAT(check.found, HasSubstr(GetParam().found));
  EXPECT_THAT(check.remedy, HasSubstr(GetParam().remedy));
}

INSTANTIATE_TEST_SUITE_P(Each, GpuTroubles, testing::ValuesIn(kGpuTroubles),
                         [](const auto& instance) { return std::string(instance.param.name); });

// What is found in a large world: the odd host by name, whatever rank 0 is, in a short text.
class LargeWorlds : public testing::TestWithParam<int> {
 protected:
  void expect_named(const WorldFacts& world, const std::string& check, const std::string& host_name) const {
    const Check found = find(world, check);
    EXPECT_GT(found.verdict, Verdict::kFine) << check;
    EXPECT_THAT(found.found, HasSubstr(host_name)) << check;
    EXPECT_LT(found.found.size(), 250U) << found.found;
    for (const Check& each : judge(world)) {
      if (each.name == check) continue;
      EXPECT_EQ(each.verdict, Verdict::kFine) << each.name << ": " << each.found;
    }
  }
};

TEST_P(LargeWorlds, TheOddHostIsNamed) {
  const int hosts = GetParam();
  for (const int odd : {0, hosts / 2, hosts - 1}) {
    const std::string name = "n" + std::to_string(odd);
    WorldFacts world = healthy_world(hosts, 4);
    for (RankFacts& rank : world.ranks) {
      if (rank.node == odd) rank.libraries["MPI"] = "Open MPI v5";
    }
    expect_named(world, "program", name + " has MPI Open MPI v5");

    world = healthy_world(hosts, 4);
    for (RankFacts& rank : world.ranks) {
      if (rank.node == odd) rank.compute.gflops = 84;
    }
    expect_named(world, "compute", name + " is slow: 84 GFLOP/s a rank, 100 elsewhere");

    world = healthy_world(hosts, 4);
    change_links(world, odd, [](LinkFacts& link) { link.mb_per_second = 100; });
    expect_named(world, "links", name + " is slow to reach: 100 MB/s");

    world = healthy_world(hosts, 4);
    change_links(world, odd, [](LinkFacts& link) { link.latency_microseconds = 9000; });
    expect_named(world, "links", name + " is slow to reach: ");

    world = healthy_world(hosts, 4);
    host(world, odd).network.segments = {50000, 5000};
    expect_named(world, "links", name + " had to send 10.0 %");

    // Rank 0's clock is the one that others are measured by.
    world = healthy_world(hosts, 4);
    for (int node = 0; node < hosts; ++node) {
      const double ahead = odd == 0 ? 45 : 0;
      host(world, node).clock = {node == 0 ? 0 : node == odd ? -45 : ahead, 1e-3};
    }
    expect_named(world, "clocks", name + " is 45.0 s behind the others");

    world = healthy_world(hosts, 4);
    host(world, odd).disk.write_mb_per_second = 30;
    expect_named(world, "disk", name);
  }
}

TEST_P(LargeWorlds, ASlowLinkIsNamedByItsEnds) {
  WorldFacts world = healthy_world(GetParam(), 4);
  LinkFacts& link = host(world, 0).network.links.front();
  link.mb_per_second = 300;
  expect_named(world, "links", "n0 and n" + std::to_string(link.to) + ": 300 MB/s");
}

TEST_P(LargeWorlds, ManyOddHostsAreCounted) {
  const int hosts = GetParam();
  WorldFacts world = healthy_world(hosts, 4);
  const int odd = (hosts - 1) / 2;
  for (int node = 0; node < odd; ++node) host(world, node).shared.sees_rank_zero = false;
  const Check check = find(world, "run folder");
  EXPECT_EQ(check.verdict, Verdict::kWrong);
  EXPECT_THAT(check.found, HasSubstr(odd == 1 ? "n0 does not see" : fmt::format("and {} more do not see", odd - 3)));
}

INSTANTIATE_TEST_SUITE_P(Each, LargeWorlds, testing::Values(3, 100, 1000),
                         [](const auto& instance) { return std::to_string(instance.param); });

TEST(Checks, AClockIsOffOnlyIfThatIsCertain) {
  WorldFacts world = healthy_world(2, 1);
  host(world, 1).clock = {.ahead_seconds = 35, .error_seconds = 10};
  EXPECT_EQ(find(world, "clocks").verdict, Verdict::kSlow);
  host(world, 1).clock = {.ahead_seconds = 35, .error_seconds = 34.5};
  EXPECT_EQ(find(world, "clocks").verdict, Verdict::kFine);
}

TEST(Checks, TwoSlowHostsOfFourAreBothNamed) {
  WorldFacts world = healthy_world(4, 1);
  for (const int node : {1, 3}) change_links(world, node, [](LinkFacts& link) { link.mb_per_second = 50; });
  std::string found;
  for (const Check& check : judge(world)) {
    if (check.name == "links") found += check.found + "\n";
  }
  EXPECT_THAT(found, AllOf(HasSubstr("n1 is slow"), HasSubstr("n3 is slow"), testing::Not(HasSubstr("n0 ")),
                           testing::Not(HasSubstr("n2 "))));
}

TEST(Identities, TheOddBuildIsNamed) {
  std::vector<Identity> ranks(100, {.host = "n0", .program_version = "0.1.0", .build = "aaaa", .configuration = ""});
  for (std::size_t i = 0; i < ranks.size(); ++i) ranks[i].host = "n" + std::to_string(i / 4);
  EXPECT_TRUE(judge(ranks).empty());
  ranks[0].build = ranks[1].build = ranks[2].build = ranks[3].build = "bbbb";
  const Checks checks = judge(ranks);
  ASSERT_EQ(checks.size(), 1U);
  EXPECT_EQ(checks[0].verdict, Verdict::kWrong);
  EXPECT_EQ(checks[0].found, "n0 runs cskd 0.1.0 (build bbbb), the others cskd 0.1.0 (build aaaa)");
  EXPECT_THAT(checks[0].remedy, HasSubstr("same build"));
}

TEST(Identities, SurviveTheirText) {
  const Identity identity{"n0", "0.1.0", "abc", "c0ffee"};
  EXPECT_EQ(Identity::parse(identity.text()).text(), identity.text());
  EXPECT_EQ(Identity::parse("").build, "");
}

TEST(Checks, TheWorstVerdictWins) {
  EXPECT_EQ(overall({{"a", Verdict::kFine, "", ""}}), Verdict::kFine);
  EXPECT_EQ(overall({{"a", Verdict::kSlow, "", ""}, {"b", Verdict::kFine, "", ""}}), Verdict::kSlow);
  EXPECT_EQ(overall({{"a", Verdict::kSlow, "", ""}, {"b", Verdict::kWrong, "", ""}}), Verdict::kWrong);
}

TEST(Checks, ConsecutiveNumbersAreJoined) {
  EXPECT_EQ(ranges({}), "");
  EXPECT_EQ(ranges({3}), "3");
  EXPECT_EQ(ranges({0, 1, 2, 3, 7, 9, 10}), "0-3, 7, 9-10");
}

Diagnosis diagnosis_of(WorldFacts world) {
  Diagnosis diagnosis;
  diagnosis.world = std::move(world);
  diagnosis.checks = judge(diagnosis.world);
  diagnosis.verdict = overall(diagnosis.checks);
  diagnosis.is_complete = true;
  return diagnosis;
}

TEST(Report, IsShortWhereAllIsFine) {
  const std::string text = to_text(diagnosis_of(healthy_world(1000, 8)), {});
  EXPECT_THAT(text, AllOf(HasSubstr("8000 ranks on 1000 hosts, started by mpirun"),
                          HasSubstr("1000 hosts (n0, n1, n2 and 997 more): 8 ranks each, a processor"),
                          HasSubstr("fine   program, processors, configuration, cores"),
                          HasSubstr("verdict: go (nothing stands in the way)")));
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 10);
}

TEST(Report, NamesHostsChecksRemediesAndVerdict) {
  WorldFacts world = healthy_world(2, 4);
  world.ranks[5].libraries["MPI"] = "Open MPI v5";
  const Diagnosis diagnosis = diagnosis_of(world);
  const std::string text = to_text(diagnosis, {});
  EXPECT_THAT(text, AllOf(HasSubstr("8 ranks on 2 hosts, started by mpirun"), HasSubstr("n1: ranks 4-7, a processor"),
                          HasSubstr("wrong  program  n1 has"), HasSubstr("-> install the same libraries"),
                          HasSubstr("verdict: no-go (program)"), testing::Not(HasSubstr("GFLOP/s"))));
  EXPECT_THAT(text, testing::Not(HasSubstr("\x1b")));
  EXPECT_THAT(to_text(diagnosis, {.colours = true}),
              AllOf(HasSubstr("\x1b[1;31mwrong\x1b[0m"), HasSubstr("\x1b[1;31mno-go\x1b[0m")));
  EXPECT_THAT(to_text(diagnosis, {.all = true}), HasSubstr("fine   compute        100 GFLOP/s"));
}

TEST(Report, SlowIsAGo) {
  WorldFacts world = healthy_world(2, 4);
  world.ranks[0].disk.write_mb_per_second = 5;
  EXPECT_THAT(to_text(diagnosis_of(world), {}), HasSubstr("verdict: go, more slowly than it could (disk)"));
  EXPECT_THAT(to_json(diagnosis_of(world)), AllOf(HasSubstr("\"verdict\": \"slow\""), HasSubstr("\"go\": true")));
}

TEST(RankFacts, SurviveTheirJson) {
  RankFacts facts = healthy_rank(3, 4);
  facts.accelerators.gpus = {gpu("GPU-1")};
  facts.sources = {{"a", "/x", "gone"}};
  facts.network.links = {{.from = 1, .to = 2, .latency_microseconds = 3, .mb_per_second = 4}};
  facts.gpu_health.gpus.resize(1);
  facts.gpu_health.gpus[0].throttling = {"power brake"};
  facts.environment["OMP_NUM_THREADS"] = "\xff not UTF-8";
  const std::string text = to_json_text(facts);
  const RankFacts again = rank_facts_from_json(text);
  EXPECT_EQ(to_json_text(again), text);
  EXPECT_EQ(again.accelerators.gpus.at(0).uuid, "GPU-1");
  EXPECT_THAT([] { rank_facts_from_json("{}"); },
              testing::ThrowsMessage<std::exception>(HasSubstr("the same program")));
}

TEST(Checks, EachThingThatCannotBeDoneIsWrong) {
  WorldFacts world = healthy_world(1, 1);
  EXPECT_EQ(check_stages(world).at(0).verdict, Verdict::kFine);
  world.impossible = {"align.encoder: unknown encoder 'x'", "no source has a test split"};
  const Checks checks = check_stages(world);
  ASSERT_EQ(checks.size(), 2U);
  EXPECT_EQ(checks[1].found, "no source has a test split");
  EXPECT_EQ(overall(checks), Verdict::kWrong);
  world.ranks[0].configuration.clear();
  EXPECT_TRUE(check_stages(world).empty()) << "without a configuration there is nothing to do";
}

}  // namespace
}  // namespace cskd::doctor
