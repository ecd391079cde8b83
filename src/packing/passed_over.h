// Files of a source that are passed over: no pictures by their names, or members of archives that are no files.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "config/source.pb.h"
#include "shards/sample.h"

namespace cskd::packing {

// "1 .heic, 3 .txt" of counts by kind; empty without any.
std::string text_of_kinds(const std::map<std::string, std::uint64_t>& counts);

// Of one part of a source: counted by kind, and listed by name as far as there is room. `source` outlives it.
class PassedOver {
 public:
  PassedOver(const config::Source& source, std::string part, std::uint64_t parts);

  void add(const shards::Entry& entry);
  // "<place> <count> <kind>" for each kind, for counting; nothing when there are none.
  std::string summary(const std::string& place) const;
  // Of passed_over.jsonl: see write_passed_over().
  std::string lines() const;

 private:
  const config::Source& source_;
  std::string part_;
  std::uint64_t room_;
  std::map<std::string, std::uint64_t> counts_;
  std::string lines_;
};

}  // namespace cskd::packing
