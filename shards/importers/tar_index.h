// What lies where in a tar archive (ustar, GNU, pax), without extracting it. Archives are hostile: names are only keys,
// never paths that are written to; links, devices and sparse files are passed over.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/input_file.h"

namespace cskd::shards {

struct TarMember {
  std::string name;
  std::uint64_t offset = 0;  // of its bytes in the archive
  std::uint64_t size = 0;
};

// The regular files of the archive, in its order. Throws DataError naming archive and offset: a header with a wrong
// checksum, a member that reaches beyond the end, an unreadable number, a long name above 64 KiB; or naming archive and
// member: a name that is absolute or has a component "..", two files of one name.
std::vector<TarMember> index_tar(const runtime::InputFile& archive);

}  // namespace cskd::shards
