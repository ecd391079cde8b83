// Pictures that lists name, each of them once and each below its folder.
#pragma once

#include <optional>
#include <string>

#include "shards/importers/key_set.h"
#include "shards/sample.h"

namespace cskd::shards {

class ListedPictures {
 public:
  // `may_be_absolute`: a key that begins with '/' is a path of its own, not below the folder.
  explicit ListedPictures(bool may_be_absolute = false) : may_be_absolute_(may_be_absolute) {}

  // The entry of the picture `key` in `folder`; with a fault when it is not there. Throws DataError without a place as
  // check_key(), Error when the picture cannot be examined.
  Entry entry(const std::string& folder, const std::string& key, std::optional<Label> label, Split split);

  // Throws DataError without a place when the key names nothing, leads out of its folder, or was checked before.
  void check_key(const std::string& key);

 private:
  bool is_absolute(const std::string& key) const { return may_be_absolute_ && key.starts_with('/'); }

  bool may_be_absolute_;
  KeySet keys_;
};

}  // namespace cskd::shards
