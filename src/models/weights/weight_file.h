// Weights as they were published: one safetensors file, several with an index, or those in a plug-in (.pt2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/safetensors_header.h"
#include "runtime/input_file.h"

namespace cskd::models {

// Reads tensors where they lie, one at a time. Not thread-safe.
class WeightFile {
 public:
  // Opens a .safetensors file, or a "*.safetensors.index.json" as Hugging Face writes it:
  // {"weight_map": {"<tensor>": "<file beside the index>", ...}}. Throws as read_safetensors_header(); DataError for an
  // index that is no such JSON, names a file outside its folder or a tensor that the file lacks, or leaves out one that
  // a file has; as PluginFile for a plug-in, of which parameters and statistics of batch normalisation are listed.
  explicit WeightFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // The file and those that it refers to.
  std::vector<std::filesystem::path> files() const;
  // Adds the bytes of all of them.
  void add_contents(runtime::ContentHasher& hasher) const;

  // Throws DataError where the file holds checksums, and one of them is wrong.
  void verify() const;

  // Bytes [begin, begin + bytes.size()) of a tensor. REQUIRES: the tensor is there and has them
  void read(const std::string& tensor, std::uint64_t begin, std::span<std::byte> bytes) const;

 private:
  struct Part {
    std::unique_ptr<runtime::InputFile> file;
    std::uint64_t data_offset = 0;
  };
  void add(const std::filesystem::path& file);
  void read_index();
  void read_plugin();

  std::filesystem::path path_;
  std::vector<Part> parts_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::size_t> part_of_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace cskd::models
