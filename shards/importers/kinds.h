// One importer for each kind of source, without the source's split rule: see make_importer(). Each lists its pictures
// with the splits of the collection itself, and rated ones of no list as training pictures.
//
// REQUIRES: check_source(source) passed
#pragma once

#include <filesystem>
#include <memory>

#include "config/source.pb.h"
#include "shards/importers/importer.h"

namespace cskd::shards {

std::unique_ptr<Importer> make_folder_importer(const config::Source& source);
std::unique_ptr<Importer> make_webdataset_importer(const config::Source& source, const std::filesystem::path& scratch);
std::unique_ptr<Importer> make_ava_importer(const config::Source& source);
std::unique_ptr<Importer> make_csv_importer(const config::Source& source);
std::unique_ptr<Importer> make_aadb_importer(const config::Source& source);
std::unique_ptr<Importer> make_tad66k_importer(const config::Source& source);
std::unique_ptr<Importer> make_para_importer(const config::Source& source);
std::unique_ptr<Importer> make_koniq10k_importer(const config::Source& source);
std::unique_ptr<Importer> make_spaq_importer(const config::Source& source);
std::unique_ptr<Importer> make_flickr_aes_importer(const config::Source& source);
std::unique_ptr<Importer> make_eva_importer(const config::Source& source);

}  // namespace cskd::shards
