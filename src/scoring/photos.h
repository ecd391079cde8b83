// Photos where a person has them: files, folders, archives, lists.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <string>
#include <vector>

namespace cskd::scoring {

// Bytes [offset, offset + size) of a file.
struct Photo {
  std::string name;  // as it was given; below a folder "<folder>/<file>", in an archive "<archive>/<member>"
  std::string file;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  bool is_whole_file = true;
  std::string fault;  // why it cannot be read, where that is known already
};

// All photos that the paths name, in their order: a file is a photo whatever its name, or a tar archive (.tar); of a
// folder all below it with a picture's extension. `list` gives further paths, one a line, where a path is "-". A path
// that is not there has a fault. Throws DataError for an archive that is damaged.
std::vector<Photo> find_photos(const std::vector<std::string>& paths, std::istream& list);

}  // namespace cskd::scoring
