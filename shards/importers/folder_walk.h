// The files below a folder.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "shards/importers/file_status.h"

namespace cskd::shards {

struct FoundFile {
  std::string name;   // below the folder, with '/'
  std::string path;   // of the folder, and the name
  FileStatus status;  // never a folder
};

// Every file whose last name `is_wanted`, each folder's names in the order of their bytes. What is hidden (a name with
// a leading dot) is passed over. Links are followed; a folder is visited once, whatever the number of ways to it, so
// that loops of links end. Holds the names of one folder at a time, and of those around it. Throws DataError when
// `folder` is no folder, Error when one cannot be read.
void walk_folder(const std::string& folder, const std::function<bool(std::string_view)>& is_wanted,
                 const std::function<void(FoundFile&&)>& take);

}  // namespace cskd::shards
