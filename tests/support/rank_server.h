// The side of a rank: runs the functions that a test asks for.
#pragma once

#include <filesystem>
#include <string>

#include "runtime/world.h"

namespace cskd::tests {

using RankFunction = void (*)(runtime::World& world, const std::string& argument);

// Makes `function` known to ranks by `name`. Ends the program when another has this name.
bool add_rank_function(const char* name, RankFunction function);

// Joins the world, tells its rank at the socket `path`, and answers {"function", "argument"} with {"results",
// "broken"}: the expectations that failed, each as {"kind", "file", "line", "text"}, and World::broken(). Returns when
// the other side closes, with MPI ended.
void serve_functions(const std::filesystem::path& path);

}  // namespace cskd::tests
