#include "doctor/report.h"

#include <algorithm>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/doctor/healthy_world.h"

namespace cskd::doctor {
namespace {

using testing::AllOf;
using testing::HasSubstr;

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

}  // namespace
}  // namespace cskd::doctor
