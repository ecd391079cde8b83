#include "runtime/launch_check.h"

#include <filesystem>
#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace cskd::runtime {
namespace {

Environment environment(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

TEST(LaunchCheck, AcceptsLaunchesThatAgree) {
  EXPECT_NO_THROW(check_launch(environment({}), 1));
  EXPECT_NO_THROW(check_launch(environment({{"OMPI_COMM_WORLD_SIZE", "4"}}), 4));
  EXPECT_NO_THROW(check_launch(environment({{"SLURM_NTASKS", "8"}}), 8));
}

TEST(LaunchCheck, MpirunInsideAnAllocationCountsByMpirun) {
  EXPECT_NO_THROW(check_launch(environment({{"OMPI_COMM_WORLD_SIZE", "2"}, {"SLURM_NTASKS", "8"}}), 2));
}

TEST(LaunchCheck, RefusesSrunWithoutAWayToMeetBeforeMpiStarts) {
  EXPECT_THAT(
      [] {
        check_before_mpi(environment({{"SLURM_STEP_NUM_TASKS", "4"}, {"SLURMD_NODENAME", "n2"}}));
      },
      testing::ThrowsMessage<UsageError>(
          testing::AllOf(testing::StartsWith("srun started 4 processes that cannot find each other (on n2)"),
                         testing::HasSubstr("srun --mpi=pmix"))));
  EXPECT_NO_THROW(check_before_mpi(environment({{"SLURM_STEP_NUM_TASKS", "4"}, {"PMIX_RANK", "3"}})));
  EXPECT_NO_THROW(check_before_mpi(environment({{"SLURM_STEP_NUM_TASKS", "4"}, {"OMPI_COMM_WORLD_SIZE", "2"}})));
  EXPECT_NO_THROW(check_before_mpi(environment({{"SLURM_STEP_NUM_TASKS", "1"}})));
  EXPECT_NO_THROW(check_before_mpi(environment({{"SLURM_NTASKS", "4"}})));
  EXPECT_NO_THROW(check_before_mpi(environment({})));
}

TEST(LaunchCheck, RefusesSilentSingletonsUnderSrun) {
  EXPECT_THAT(
      [] {
        check_launch(environment({{"SLURM_NTASKS", "4"}}), 1);
      },
      testing::ThrowsMessage<UsageError>(
          testing::AllOf(testing::StartsWith("SLURM_NTASKS is 4, but MPI reports a world of 1."),
                         testing::HasSubstr("srun --mpi=pmix"))));
}

TEST(LaunchCheck, OneProcessOfABatchScriptIsWhatItSeems) {
  EXPECT_NO_THROW(check_launch(environment({{"SLURM_NTASKS", "4"}}), 1, true));
  EXPECT_THROW(check_launch(environment({{"SLURM_NTASKS", "4"}, {"SLURM_STEP_NUM_TASKS", "4"}}), 1, true), UsageError);
  EXPECT_THROW(check_launch(environment({{"SLURM_NTASKS", "4"}}), 2, true), UsageError);
}

TEST(LaunchCheck, RefusesTemporaryFoldersThatCannotBeWritten) {
  EXPECT_NO_THROW(check_temporary_folder(environment({})));
  const tests::TemporaryFolder folder;
  const std::string file = folder / "file";
  std::ofstream(file) << "";
  EXPECT_NO_THROW(check_temporary_folder(environment({{"TMPDIR", "/tmp"}, {"TMP", file}})));
  EXPECT_NO_THROW(check_temporary_folder(environment({{"TMPDIR", folder / "not/yet/there"}})));
  EXPECT_FALSE(std::filesystem::exists(folder / "not"));
  EXPECT_THAT(
      [&] {
        check_temporary_folder(environment({{"TMPDIR", file}}));
      },
      testing::ThrowsMessage<UsageError>(testing::StartsWith("TMPDIR is " + file + ", where no file can be made")));
  EXPECT_THROW(check_temporary_folder(environment({{"TMP", file + "/below"}})), UsageError);
}

TEST(LaunchCheck, MpirunGivesASecondUnlessTold) {
  EXPECT_EQ(mpirun_grace(environment({{"SLURM_NTASKS", "4"}})), std::nullopt);
  EXPECT_EQ(mpirun_grace(environment({{"OMPI_COMM_WORLD_SIZE", "4"}})), 1);
  EXPECT_EQ(mpirun_grace(environment({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_MCA_odls_base_sigkill_timeout", "60"}})),
            60);
}

TEST(LaunchCheck, RefusesTheMpirunOfAnotherMpi) {
  EXPECT_THAT(
      [] {
        check_launch(environment({{"OMPI_COMM_WORLD_SIZE", "2"}}), 1);
      },
      testing::ThrowsMessage<UsageError>(
          testing::StartsWith("mpirun started 2 processes, but MPI reports a world of 1")));
}

TEST(LaunchCheck, IgnoresValuesThatAreNotNumbers) {
  EXPECT_NO_THROW(check_launch(environment({{"SLURM_NTASKS", "many"}}), 1));
}

TEST(LaunchCheck, KnowsTheRankBeforeMpiStarts) {
  EXPECT_EQ(launcher_rank(environment({})), 0);
  EXPECT_EQ(launcher_rank(environment({{"OMPI_COMM_WORLD_RANK", "3"}, {"SLURM_PROCID", "0"}})), 3);
  EXPECT_EQ(launcher_rank(environment({{"SLURM_PROCID", "5"}})), 5);
}

TEST(LaunchCheck, NamesTheLauncher) {
  EXPECT_EQ(launcher_name(environment({})), "none");
  EXPECT_EQ(launcher_name(environment({{"SLURM_NTASKS", "2"}})), "srun");
  EXPECT_EQ(launcher_name(environment({{"SLURM_NTASKS", "2"}, {"OMPI_COMM_WORLD_SIZE", "2"}})), "mpirun");
}

}  // namespace
}  // namespace cskd::runtime
