// All kinds of sources, in one table.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "config/source.pb.h"
#include "shards/importers/importer.h"
#include "shards/importers/rating_scale.h"

namespace cskd::shards {

struct SourceKind {
  config::Source::Kind kind;
  // The importer of the kind, without the source's split rule: see make_importer(). It lists its pictures with the
  // splits of the collection itself, and rated ones of no list as training pictures. REQUIRES: check_source() passed
  std::unique_ptr<Importer> (*make)(const config::Source& source, const std::filesystem::path& scratch) = nullptr;
  Ratings ratings = Ratings::kNone;
  bool columns_decide = false;  // about ratings, and none without
  std::vector<float> bins;      // of its scale; empty where the source has to give them
};

// REQUIRES: `kind` is one of the schema's
const SourceKind& source_kind(config::Source::Kind kind);

}  // namespace cskd::shards
