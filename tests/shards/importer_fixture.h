// Collections of pictures in a folder of the test's own, and what an importer lists of them.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/error.h"
#include "shards/importers/importer.h"
#include "tests/support/temporary_folder.h"

namespace cskd::shards {

class ImporterTest : public testing::Test {
 protected:
  // Writes a file below the folder, and the folders around it.
  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = folder_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  // Importers do not look into pictures: any bytes do.
  void pictures(const std::vector<std::string>& names) const {
    for (const std::string& name : names) write(name, "bytes of " + name);
  }

  config::Source source(config::Source::Kind kind, const std::string& path = "") const {
    config::Source source;
    source.set_name("photos");
    source.set_kind(kind);
    source.set_path((path.empty() ? folder_.path() : folder_ / path).native());
    return source;
  }

  // Without what is passed over.
  static std::vector<Entry> list(const config::Source& source) {
    std::vector<Entry> entries = list_all(source);
    std::erase_if(entries, [](const Entry& entry) { return !entry.passed_over.empty(); });
    return entries;
  }

  static std::vector<Entry> list_all(const config::Source& source) {
    std::vector<Entry> entries;
    const auto take = [&](Entry&& entry) { entries.push_back(std::move(entry)); };
    const std::unique_ptr<Importer> importer = make_importer(source, source.path() + ".unpacked");
    for (const std::string& part : importer->parts(take)) importer->list(part, take);
    return entries;
  }

  static std::vector<std::string> parts(const config::Source& source) {
    return make_importer(source, "")->parts([](Entry&&) {});
  }

  // "key split" of each entry, "key fault" where it has one.
  static std::vector<std::string> summary(const config::Source& source) {
    std::vector<std::string> lines;
    for (const Entry& entry : list(source)) {
      lines.push_back(entry.key + " " + (entry.fault.empty() ? std::string(to_string(entry.split)) : entry.fault));
    }
    return lines;
  }

  // Message of the DataError that listing throws, with the test's folder cut out of it.
  std::string damage(const config::Source& source) const {
    try {
      list(source);
    } catch (const runtime::DataError& error) {
      return without_folder(error.what());
    }
    return "no DataError";
  }

  std::string without_folder(std::string message) const {
    const std::string folder = folder_.path().native() + "/";
    for (size_t at = message.find(folder); at != std::string::npos; at = message.find(folder)) {
      message.erase(at, folder.size());
    }
    return message;
  }

  tests::TemporaryFolder folder_;
};

}  // namespace cskd::shards
