// Files that other hosts write, and removals that nothing depends on.
//
// Note [Shared files]
// What a rank wrote before a barrier is there for the others after it, but a client of a network file system may answer
// from memory for up to a minute: a name that was asked for in vain before stays missing. Contents are no trouble,
// since files are never changed in place and opening one asks the server (close-to-open consistency). So whoever opens
// a file of another rank waits for its name first.
//
// Removing is no better: NFS keeps a removed file that is open as .nfsXXXX, so that its folder stays, and cannot be
// removed either. Nothing may depend on a removal.
#pragma once

#include <chrono>
#include <filesystem>
#include <string_view>

namespace cskd::runtime {

// Whether there is such a file or folder. On a network file system a missing one is looked for again and again, up to
// `limit`, and the folder is listed and written to so that the client asks its server; elsewhere once.
bool wait_until_there(const std::filesystem::path& path, std::chrono::milliseconds limit = std::chrono::seconds(10));

// Removes a file, or a folder with all in it, that only takes room. False when something stays: that is logged, naming
// the path and `what` it is. A missing file is not an error.
bool remove_leftover(const std::filesystem::path& path, std::string_view what) noexcept;

}  // namespace cskd::runtime
