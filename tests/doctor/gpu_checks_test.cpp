// What checks find on hosts with GPUs.
#include <gtest/gtest.h>

#include "tests/doctor/healthy_world.h"
#include "tests/doctor/trouble.h"

namespace cskd::doctor {
namespace {

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

TEST_P(GpuTroubles, AreFoundWithPlaceAndRemedy) { expect_found(world_with_gpus(3, 4), GetParam()); }

INSTANTIATE_TEST_SUITE_P(Each, GpuTroubles, testing::ValuesIn(kGpuTroubles),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace cskd::doctor
