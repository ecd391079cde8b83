// Members of a zip archive that lie in it uncompressed, as torch.export.save() writes them (APPNOTE.TXT 6.3.9, with its
// extension for large files). Files from outside are hostile: every bound is checked before it is used.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "runtime/input_file.h"

namespace cskd::models {

struct ZipMember {
  std::uint64_t offset = 0;  // of its bytes in the file
  std::uint64_t size = 0;
  std::uint32_t crc32 = 0;
};

// The members by their paths. Throws DataError that names the file: no archive, one that ends early, a compressed or
// encrypted member, a path that is absolute or leaves the archive, a path twice, members that overlap or reach beyond
// the file.
std::map<std::string, ZipMember> read_stored_zip(const runtime::InputFile& file);

// The bytes of a member. Throws DataError when it has more than `limit`, or its checksum differs.
std::string read_member(const runtime::InputFile& file, const std::string& path, const ZipMember& member,
                        std::uint64_t limit);

// Throws DataError unless the checksum of the member's bytes is the stored one.
void require_checksum(const runtime::InputFile& file, const std::string& path, const ZipMember& member);

}  // namespace cskd::models
