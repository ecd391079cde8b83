#include "tests/support/rank_server.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include "runtime/error.h"
#include "tests/support/rank_channel.h"

namespace cskd::tests {
namespace {

std::map<std::string, RankFunction>& functions() {
  static std::map<std::string, RankFunction> known;  // filled before main(), from several files
  return known;
}

void call(const std::string& name, runtime::World& world, const std::string& argument) {
  const auto found = functions().find(name);
  if (found == functions().end()) {
    ADD_FAILURE_AT("", 0) << "this rank knows no function " << name;
    return;
  }
  try {
    found->second(world, argument);
  } catch (const std::exception& error) {
    ADD_FAILURE_AT("", 0) << "an exception left the function\n" << runtime::describe(error, world.rank(), world.size());
  } catch (...) {
    ADD_FAILURE_AT("", 0) << "something that is no std::exception left the function";
  }
}

nlohmann::json results_of(const std::string& name, runtime::World& world, const std::string& argument) {
  testing::TestPartResultArray found;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &found);
    call(name, world, argument);
  }
  nlohmann::json results = nlohmann::json::array();
  for (int i = 0; i < found.size(); ++i) {
    const testing::TestPartResult& result = found.GetTestPartResult(i);
    if (result.passed()) continue;
    results.push_back({{"kind", result.skipped() ? "skip" : "failure"},
                       {"file", result.file_name() == nullptr ? "" : result.file_name()},
                       {"line", result.line_number()},
                       {"text", result.message()}});
  }
  return results;
}

}  // namespace

bool add_rank_function(const char* name, RankFunction function) {
  const auto [known, is_new] = functions().emplace(name, function);
  if (is_new || known->second == function) return true;
  std::fprintf(stderr, "two functions for ranks have the name %s: give the functions they stand in different names\n",
               name);
  std::abort();
}

void serve_functions(const std::filesystem::path& path) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // whatever this process hangs in, it ends with its mpirun
  runtime::World world(nullptr, nullptr);
  const std::chrono::milliseconds usual_timeout = world.timeout();
  RankChannel channel = connect_at(path);
  channel.send({{"rank", world.rank()}});
  for (;;) {
    while (const auto asked = channel.take()) {
      // As in a new world.
      world.set_timeout(usual_timeout);
      world.set_investigation({});
      const nlohmann::json results = results_of(asked->at("function"), world, asked->at("argument"));
      channel.send({{"results", results}, {"broken", world.broken()}});
    }
    if (!channel.receive()) return;
  }
}

}  // namespace cskd::tests
