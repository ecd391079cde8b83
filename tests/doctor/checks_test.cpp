#include "doctor/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/diagnosis.h"

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
  facts.open_files_limit = 65536;
  facts.program_version = "0.1.0";
  facts.libraries = {{"MPI", "Open MPI v4.1.4"}};
  facts.mpi_thread_level = "MPI_THREAD_MULTIPLE";
  facts.mpi_transports = {"tcp", "vader"};
  facts.compute = {.capability = "AVX2", .threads = share, .gflops = 100};
  facts.folder = {
      .path = "/data", .file_system = "ext4", .free_bytes = 500 * kGiB, .problem = "", .sees_rank_zero = true};
  if (facts.local_rank == 0) {
    facts.disk = {.write_mb_per_second = 900, .read_mb_per_second = 1500, .commit_milliseconds = 3};
  }
  return facts;
}

WorldFacts healthy_world(int nodes, int ranks_per_node) {
  WorldFacts world;
  world.launcher = nodes * ranks_per_node > 1 ? "mpirun" : "none";
  for (int rank = 0; rank < nodes * ranks_per_node; ++rank) world.ranks.push_back(healthy_rank(rank, ranks_per_node));
  world.mpi = {.latency_microseconds = 5, .bus_gb_per_second = 4};
  return world;
}

distributed::Gpu gpu(const std::string& uuid) {
  return {
      .name = "H200", .uuid = uuid, .compute_capability = "9.0", .memory_total = 141 * kGiB, .memory_free = 140 * kGiB};
}

Check find(const WorldFacts& world, const std::string& name) {
  for (const Check& check : judge(world)) {
    if (check.name == name) return check;
  }
  ADD_FAILURE() << "no check named " << name;
  return {};
}

TEST(Checks, AHealthyWorldIsFineWhateverItsSize) {
  for (const auto& [nodes, ranks] : {std::pair(1, 1), std::pair(1, 4), std::pair(8, 4)}) {
    for (const Check& check : judge(healthy_world(nodes, ranks))) {
      EXPECT_EQ(check.verdict, Verdict::kFine) << check.name << ": " << check.found;
      EXPECT_EQ(check.remedy, "") << check.name;
    }
  }
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
    {"OtherBuild", [](WorldFacts& w) { w.ranks[5].program_version = "0.0.9"; }, "program", Verdict::kWrong,
     "rank 5 on n1 runs cskd 0.0.9", "same build"},
    {"OtherLibrary", [](WorldFacts& w) { w.ranks[3].libraries["MPI"] = "Open MPI v5"; }, "program", Verdict::kWrong,
     "rank 3 on n0", "same build"},
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
    {"OneSlowNode", [](WorldFacts& w) { w.ranks[6].compute.gflops = 20; }, "compute", Verdict::kSlow,
     "rank 6 on n1 reaches 20 GFLOP/s", "wait for the slowest"},
    {"LittleMemory", [](WorldFacts& w) { w.ranks[4].memory_available = 4 * kGiB; }, "memory", Verdict::kSlow,
     "1.0 GiB available for each rank on n1", "fewer ranks a node"},
    {"SmallSharedMemory", [](WorldFacts& w) { w.ranks[1].shared_memory_free = 64 << 20; }, "limits", Verdict::kSlow,
     "/dev/shm of n0 has 64.0 MiB free", "--shm-size"},
    {"FewOpenFiles", [](WorldFacts& w) { w.ranks[1].open_files_limit = 256; }, "limits", Verdict::kSlow,
     "rank 1 may open 256 files", "ulimit -n"},
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
    {"NodesWithDifferentGpus", [](WorldFacts& w) { w.ranks[4].accelerators.gpus = {gpu("a")}; }, "GPUs",
     Verdict::kWrong, "n0 sees 0 GPUs, n1 sees 1", "--gpus-per-node"},
    {"SlowLatency", [](WorldFacts& w) { w.mpi.latency_microseconds = 32000; }, "MPI", Verdict::kSlow, "32000.0 us",
     "yield_when_idle"},
    {"SlowNetwork", [](WorldFacts& w) { w.mpi.bus_gb_per_second = 0.1; }, "MPI", Verdict::kSlow, "0.1 GB/s", "UCX"},
    {"ClocksApart", [](WorldFacts& w) { w.ranks[7].clock = 90; }, "clocks", Verdict::kSlow, "n0 is 90.0 s behind n1",
     "chrony"},
    {"ReadOnlyRunFolder", [](WorldFacts& w) { w.ranks[2].folder.problem = "is on a read-only file system"; },
     "run folder", Verdict::kWrong, "/data on n0 is on a read-only file system", "run.folder"},
    {"RunFolderNotShared", [](WorldFacts& w) { w.ranks[4].folder.sees_rank_zero = false; }, "run folder",
     Verdict::kWrong, "rank 4 on n1 does not see what rank 0 on n0 writes", "all nodes share"},
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
       for (RankFacts& rank : w.ranks) rank.sources = {{"beach", "/photos", rank.rank == 5 ? "does not exist" : ""}};
     },
     "source beach", Verdict::kWrong, "/photos on n1: does not exist", "mount it on every node"},
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
    {"LockingOnNfs", [](WorldFacts& w) { w.ranks[0].folder.file_system = "nfs"; }, "HDF5_USE_FILE_LOCKING",
     Verdict::kSlow, "not set on nfs", "FALSE"},
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

TEST(Diagnosis, TextNamesNodesChecksRemediesAndVerdict) {
  Diagnosis diagnosis{healthy_world(2, 4), {}};
  diagnosis.world.ranks[5].program_version = "0.0.9";
  diagnosis.checks = judge(diagnosis.world);
  const std::string text = to_text(diagnosis, /*colours=*/false);
  EXPECT_THAT(text, AllOf(HasSubstr("8 ranks on 2 nodes, started by mpirun"), HasSubstr("n1: ranks 4-7, a processor"),
                          HasSubstr("wrong  program "), HasSubstr("-> start the same build on every node"),
                          HasSubstr("verdict: wrong (something will fail; see above)")));
  EXPECT_THAT(text, testing::Not(HasSubstr("\x1b")));
  EXPECT_THAT(to_text(diagnosis, /*colours=*/true), HasSubstr("\x1b[1;31mwrong\x1b[0m"));
}

TEST(RankFacts, SurviveTheirJson) {
  RankFacts facts = healthy_rank(3, 4);
  facts.accelerators.gpus = {gpu("GPU-1")};
  facts.sources = {{"a", "/x", "gone"}};
  facts.environment["OMP_NUM_THREADS"] = "\xff not UTF-8";
  const std::string text = to_json_text(facts);
  const RankFacts again = rank_facts_from_json(text);
  EXPECT_EQ(to_json_text(again), text);
  EXPECT_EQ(again.accelerators.gpus.at(0).uuid, "GPU-1");
  EXPECT_THAT([] { rank_facts_from_json("{}"); },
              testing::ThrowsMessage<std::exception>(HasSubstr("the same program")));
}

}  // namespace
}  // namespace cskd::doctor
