// A .pt2 file as torch.export.save() writes it: a program, its weights and what launch/export_encoder.py says of them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "models/plugin/stored_zip.h"
#include "models/safetensors_header.h"
#include "runtime/input_file.h"

namespace cskd::models {

inline constexpr const char* kPluginEnding = ".pt2";

class PluginFile {
 public:
  // Throws DataError that names the file: as read_stored_zip(), and for an archive of something else (a TorchScript
  // file, a checkpoint).
  explicit PluginFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }

  // The text of models/model.json.
  std::string program() const;
  // extra/cskd.json, "" where there is none.
  std::string description() const;

  // Parameters and statistics of batch normalisation by their names; begin and end are offsets in the file. Throws
  // DataError: weights that are pickled, not contiguous, shared by two names, or beside their member's bounds.
  std::map<std::string, TensorInfo> weights() const;
  // Other buffers, and tensors that the program holds itself.
  std::map<std::string, TensorInfo> constants() const;

  // The bytes of one of them. Throws DataError when their checksum differs.
  std::vector<std::byte> read(const TensorInfo& info) const;

  // Throws DataError unless all checksums are right.
  void verify() const;

 private:
  const ZipMember* find(const std::string& path) const;
  std::string text(const std::string& path, std::uint64_t limit) const;
  void add_tensors(const std::string& kind, bool are_weights, std::map<std::string, TensorInfo>& tensors) const;

  runtime::InputFile file_;
  std::map<std::string, ZipMember> members_;
  std::string root_;  // with a slash behind
};

}  // namespace cskd::models
