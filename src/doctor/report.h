// A diagnosis as text.
#pragma once

#include <string>

#include "doctor/diagnosis.h"

namespace cskd::doctor {

struct TextOptions {
  bool colours = false;  // ANSI colours for the verdicts
  bool all = false;      // what is fine too, with its figures
};

// For people: hosts in aggregate, what is not fine with its remedy, the verdict.
std::string to_text(const Diagnosis& diagnosis, const TextOptions& options);

// For programs: {"verdict", "go", "launcher", "world_size", "nodes", "seconds", "mpi", "checks": [...], "ranks":
// [...]}.
std::string to_json(const Diagnosis& diagnosis);

}  // namespace cskd::doctor
