// `cskd doctor`: looks at every rank and its machine, and judges.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "doctor/checks.h"
#include "doctor/source_probe.h"
#include "runtime/world.h"

namespace cskd::doctor {

struct DiagnosisOptions {
  std::filesystem::path run_folder = ".";
  std::uint64_t free_bytes_needed = 0;
  std::uint64_t disk_test_bytes = std::uint64_t{64} << 20;  // of a host; fewer where many write at once
  std::vector<SourceToCheck> sources;
  std::string configuration;  // its digest; empty without one
  // Why it cannot be done. Rank 0 calls it, after the sources were looked at.
  std::function<std::vector<std::string>()> find_impossible;
  // Rank 0: what the weight files of the configuration hold.
  std::function<std::vector<std::string>()> describe_weights;
  std::string configuration_problem;            // why this rank could not read it
  std::map<std::string, std::string> settings;  // what the digest is of
  // After so long a rank that hangs in the system (a mount that does not answer) ends the job, and says where.
  std::chrono::seconds longest_step{60};
};

// On rank 0; the others know no more than the verdict.
struct Diagnosis {
  WorldFacts world;
  Checks checks;
  Verdict verdict = Verdict::kFine;
  bool is_complete = false;  // false: ranks run different programs, and nothing else was looked at
  double seconds = 0;
};

// Takes seconds, also on hundreds of hosts. Collective: every rank must call. Throws Error when a rank does not answer.
Diagnosis diagnose(const DiagnosisOptions& options, runtime::World& world);

}  // namespace cskd::doctor
