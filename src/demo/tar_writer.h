// A POSIX ustar archive in memory, the same bytes for the same members: no times, no owners.
#pragma once

#include <string>

namespace cskd::demo {

class TarWriter {
 public:
  // REQUIRES: 1 <= name.size() <= 100, contents.size() < 8 GiB
  void add(const std::string& name, const std::string& contents);

  // The archive with its end mark; the writer is empty afterwards.
  std::string finish();

 private:
  std::string bytes_;
};

}  // namespace cskd::demo
