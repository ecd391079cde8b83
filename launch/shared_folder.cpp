#include "launch/shared_folder.h"

#include <fstream>
#include <set>
#include <string>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/shared_files.h"

namespace cskd::launch {
namespace {

namespace fs = std::filesystem;

bool holds(const fs::path& file, const std::string& text) {
  std::ifstream stream(file);
  std::string line;
  return std::getline(stream, line) && line == text;
}

}  // namespace

void require_shared_folder(const fs::path& folder, runtime::World& world) {
  if (world.nodes() == 1) return;
  const fs::path file = folder / ".seen-by-all";
  const std::string own =
      fmt::format("{} {} {}", world.host(), ::getpid(), std::chrono::system_clock::now().time_since_epoch().count());
  if (world.rank() == 0) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) runtime::throw_system_error(fmt::format("cannot create the folder {}", folder.native()), error.value());
    runtime::write_file_atomically(file, own + "\n");
  }
  const std::string text = world.broadcast(own);
  const bool is_seen = runtime::wait_until_there(file, kSeenWithin) && holds(file, text);
  std::set<std::string> blind;
  for (const std::string& host : world.all_gather(is_seen ? "" : world.host())) {
    if (!host.empty()) blind.insert(host);
  }
  if (world.rank() == 0) runtime::remove_leftover(file, "a trial file");
  if (blind.empty()) return;
  throw runtime::UsageError(
      fmt::format("{} is a different folder on {} than on {}, or does not exist there: choose a run.folder on a file "
                  "system that all "
                  "hosts share",
                  folder.native(), fmt::join(blind, ", "), world.broadcast(world.host())));
}

}  // namespace cskd::launch
