// A member of a tar archive, made by hand.
#pragma once

#include <string>

#include <fmt/format.h>

namespace cskd::tests {

// Header and contents of a regular file; two blocks of zeros end an archive. REQUIRES: a name of at most 100 bytes
inline std::string tar_member(const std::string& name, const std::string& contents) {
  std::string block(512, '\0');
  block.replace(0, name.size(), name);
  block.replace(124, 11, fmt::format("{:011o}", contents.size()));
  block.replace(148, 8, "        ");
  block[156] = '0';
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  block.replace(148, 6, fmt::format("{:06o}", sum));
  return block + contents + std::string((512 - contents.size() % 512) % 512, '\0');
}

}  // namespace cskd::tests
