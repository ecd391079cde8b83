// Shell completion, generated from the command line that the program really has.
#pragma once

#include <string>

#include <CLI/App.hpp>

namespace cskd::launch {

// A bash script that completes commands, options, values that come from a fixed set, and files elsewhere.
std::string bash_completion(const CLI::App& app);

}  // namespace cskd::launch
