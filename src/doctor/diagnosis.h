// `cskd doctor`: looks at every rank and its machine, judges, and prints.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "doctor/checks.h"
#include "doctor/source_probe.h"
#include "runtime/world.h"

namespace cskd::doctor {

struct DiagnosisOptions {
  std::filesystem::path run_folder = ".";
  std::uint64_t free_bytes_needed = 0;
  std::uint64_t disk_test_bytes = std::uint64_t{64} << 20;
  std::vector<SourceToCheck> sources;
};

struct Diagnosis {
  WorldFacts world;
  std::vector<Check> checks;
};

// Collective: every rank must call. The result is the same on all.
Diagnosis diagnose(const DiagnosisOptions& options, runtime::World& world);

// For people: nodes, checks with remedies, the verdict. `colours`: ANSI colours for the verdicts.
std::string to_text(const Diagnosis& diagnosis, bool colours);

// For programs: {"verdict", "launcher", "world_size", "nodes", "mpi", "checks": [...], "ranks": [...]}.
std::string to_json(const Diagnosis& diagnosis);

}  // namespace cskd::doctor
