// The index of a tar archive (ustar, GNU, pax), without extracting it. Archives are hostile: names are only keys,
// never paths that are written to; symbolic links, devices and sparse files are passed over. A hard link is the file
// that it names. Archives that were joined (cat a.tar b.tar) are read to the end, as by tar --ignore-zeros.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/input_file.h"

namespace cskd::shards {

struct TarMember {
  std::string name;
  std::uint64_t offset = 0;  // of its bytes in the archive
  std::uint64_t size = 0;
};

// Called with the name of a member that is no file with contents, and what it is ("link in an archive").
using PassOver = std::function<void(const std::string& name, const std::string& what)>;

// The regular files of the archive, in its order. Throws DataError naming archive and offset: a header with a wrong
// checksum, a member that reaches beyond the end, an unreadable number, a long name above 64 KiB, no block of zeros at
// the end, without which it was cut off; or naming archive and member: a name that is absolute or has a component "..",
// two files of one name.
std::vector<TarMember> index_tar(const runtime::InputFile& archive, const PassOver& pass_over = {});

}  // namespace cskd::shards
