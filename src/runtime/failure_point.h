// Named places where a test makes the program fail, to prove that nothing is lost or half-written there.
//
// Armed by the environment, in the form  CSKD_FAIL_AT=<name>[@<object>][:<nth>][:<action>]
//   name    of the place, e.g. atomic_file.rename
//   object  only passages with this file, folder or stage count (default: all): the last name of its path or the last
//           few, with a shell's wildcards, such as manifest.cskd or shards/*.h5; a temporary file by the name that it
//           will have, without .tmp. Without ':' in it
//   nth     which of these passages fails, counted from 1 (default 1)
//   action  error   throw an Error as if the system call had failed with EIO (default)
//           full    the same with ENOSPC
//           kill    end the process with SIGKILL, as a power cut would
//           halt    stop where it is (SIGSTOP), so that a test can kill all ranks at this moment
//           term    raise SIGTERM and go on, as a scheduler would
//           spoil   go on with a wrong number, as a faulty processor would; only at places that ask is_spoilt()
// e.g. atomic_file.rename@manifest.cskd:kill or trainer.step@align.student:7:term,
// or from a test in the same process by arm_failure(). Not armed, a passage costs one relaxed atomic load.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cskd::runtime {

enum class FailureAction { kError, kFull, kKill, kHalt, kTerm, kSpoil };

// Passes the place `name` of the file or object `what`. Thread-safe.
void failure_point(std::string_view name, std::string_view what);
// The same, for a place that computes a number: whether it is to be wrong.
bool is_spoilt(std::string_view name, std::string_view what);

// Replaces whatever was armed. `place` is <name>[@<object>]; throws UsageError when it is malformed. REQUIRES: nth >= 1
void arm_failure(std::string_view place, int nth, FailureAction action);
void disarm_failure() noexcept;

// Reads CSKD_FAIL_AT. Throws UsageError when it is set and malformed.
void arm_failure_from_environment();

}  // namespace cskd::runtime
