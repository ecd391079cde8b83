// Functions that run on several ranks, with a time limit, from any test.
//
//   TEST(Barrier, WaitsForAll) {
//     tests::on_ranks(4, 10s, [](runtime::World& world) {
//       EXPECT_EQ(world.size(), 4);
//       world.barrier();
//     });
//   }
//
// Note [Worlds are kept]
// The ranks are processes of the same program, which mpirun starts. A start takes a second, so the world of a size is
// kept for the next function that wants as many ranks, and ended with the program. It is not kept when something went
// wrong in it, or when World::broken() on one of its ranks.
#pragma once

#include <chrono>
#include <string>
#include <type_traits>
#include <typeinfo>

#include "runtime/world.h"
#include "tests/support/rank_server.h"

namespace cskd::tests {

// on_ranks() for the function that is known as `name`; `file` and `line` are those of the call.
void run_on_ranks(int ranks, std::chrono::milliseconds limit, const char* name, const std::string& argument,
                  const char* file, int line);

// The process that asks and the ranks know a lambda by the name of its type.
template <typename Function>
struct KnownToRanks {
  static void run(runtime::World& world, const std::string& argument) {
    if constexpr (std::is_invocable_v<Function, runtime::World&>) {
      Function{}(world);
    } else {
      Function{}(world, argument);
    }
  }
  static inline const bool is_known = add_rank_function(typeid(Function).name(), run);
};

// Runs `function(world)` or `function(world, argument)` on `ranks` ranks, and waits. It captures nothing, because it
// runs in other processes; `argument` is the same on every rank. Each expectation that fails there fails the running
// test at its place, with its rank; so do an exception, a rank that ends, and a function that is not done on every rank
// within `limit`. In these cases all processes of the world have ended when this returns. GTEST_SKIP() on a rank skips
// the running test. Throws std::runtime_error when the ranks can't be started. Called by the thread that runs the
// tests.
template <typename Function>
void on_ranks(int ranks, std::chrono::milliseconds limit, Function /*function*/, const std::string& argument = "",
              const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  static_assert(std::is_empty_v<Function> && std::is_default_constructible_v<Function>,
                "a function on ranks captures nothing: it runs in other processes");
  static_cast<void>(&KnownToRanks<Function>::is_known);  // makes the function known before main()
  run_on_ranks(ranks, limit, typeid(Function).name(), argument, file, line);
}

}  // namespace cskd::tests
