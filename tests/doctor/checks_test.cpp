#include "doctor/checks.h"

#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/doctor/healthy_world.h"
#include "tests/doctor/trouble.h"

namespace cskd::doctor {
namespace {

distributed::Gpu gpu(const std::string& uuid) {
  return {.name = "H200", .uuid = uuid, .compute_capability = "9.0", .memory_total = 141 * kGiB};
}

TEST(Checks, AHealthyWorldIsFineWhateverItsSize) {
  for (const auto& [hosts, ranks] : {std::pair(1, 1), std::pair(1, 4), std::pair(2, 1), std::pair(3, 2),
                                     std::pair(8, 4), std::pair(100, 8), std::pair(1000, 8)}) {
    expect_fine(healthy_world(hosts, ranks));
  }
  for (const auto& [hosts, ranks] : {std::pair(1, 1), std::pair(2, 8), std::pair(3, 4), std::pair(100, 8)})
    expect_fine(world_with_gpus(hosts, ranks));
}

class Troubles : public testing::TestWithParam<Trouble> {};

TEST_P(Troubles, AreFoundWithPlaceAndRemedy) { expect_found(healthy_world(2, 4), GetParam()); }

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

TEST(Checks, AClockIsOffOnlyIfThatIsCertain) {
  WorldFacts world = healthy_world(2, 1);
  host(world, 1).clock = {.ahead_seconds = 35, .error_seconds = 10};
  EXPECT_EQ(find(world, "clocks").verdict, Verdict::kSlow);
  host(world, 1).clock = {.ahead_seconds = 35, .error_seconds = 34.5};
  EXPECT_EQ(find(world, "clocks").verdict, Verdict::kFine);
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
