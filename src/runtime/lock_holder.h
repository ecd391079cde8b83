// The holder of a run lock, as its file tells.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <sys/types.h>

namespace cskd::runtime {

struct LockHolder {
  std::string text;  // for people: "<host>, process <number>, since <time> UTC"
  std::string id;    // no two are alike
  std::string host;
  std::string boot;     // of the kernel that runs it; "" where it is not known
  std::string numbers;  // within which its process number means something (process_namespace())
  pid_t process = 0;
  std::uint64_t started = 0;  // when its process did, in the kernel's ticks: numbers are used again
  bool has_flock = false;     // it holds a lock of the operating system on the file

  // This process, with an id by chance. Throws Error.
  static LockHolder self();
  // From the file's contents, whatever they are: damaged ones name a holder of unknown host.
  static LockHolder parse(const std::string& contents);

  std::string contents() const;
  // Whether it runs, or ran, on the kernel of this process and by the same host name.
  bool is_of_this_host() const;
  // Whether its process lives; nothing where its number means nothing here.
  std::optional<bool> lives() const;
};

}  // namespace cskd::runtime
