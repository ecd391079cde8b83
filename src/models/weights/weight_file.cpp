#include "models/weights/weight_file.h"

#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/plugin/plugin_file.h"
#include "models/safetensors_header.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

constexpr std::string_view kIndexEnding = ".safetensors.index.json";

}  // namespace

WeightFile::WeightFile(const std::filesystem::path& path) : path_(path) {
  if (path.native().ends_with(kIndexEnding)) {
    read_index();
  } else if (path.extension() == kPluginEnding) {
    read_plugin();
  } else {
    add(path);
  }
}

std::vector<std::filesystem::path> WeightFile::files() const {
  std::vector<std::filesystem::path> files;
  for (const Part& part : parts_) files.push_back(part.file->path());
  if (files.empty() || files.front() != path_) files.insert(files.begin(), path_);
  return files;
}

void WeightFile::add_contents(runtime::ContentHasher& hasher) const {
  for (const std::filesystem::path& file : files()) runtime::add_contents(runtime::InputFile(file), hasher);
}

void WeightFile::add(const std::filesystem::path& file) {
  SafetensorsHeader header = read_safetensors_header(file);
  parts_.push_back({std::make_unique<runtime::InputFile>(file), header.data_offset});
  for (auto& [name, info] : header.tensors) {
    if (!tensors_.emplace(name, std::move(info)).second)
      throw runtime::DataError(fmt::format("{}: tensor {} is in another file, too", file.native(), shown(name)));
    part_of_[name] = parts_.size() - 1;
  }
  metadata_.merge(header.metadata);
}

void WeightFile::read_index() {
  const nlohmann::json index =
      nlohmann::json::parse(runtime::read_text_file(path_, kLargestHeader), nullptr, /*allow_exceptions=*/false);
  const auto fail = [&](const std::string& reason) {
    return runtime::DataError(fmt::format("{} is no index of weights: {}", path_.native(), reason));
  };
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    throw fail(R"(expected {"weight_map": {"<tensor>": "<file>", ...}})");
  std::map<std::string, std::string> file_of;
  std::set<std::string> files;
  for (const auto& [tensor, value] : index["weight_map"].items()) {
    if (!value.is_string()) throw fail(fmt::format("the file of tensor {} is no text", shown(tensor)));
    const std::string name = value;
    if (name.find('/') != std::string::npos || !name.ends_with(".safetensors") || name.find('\0') != std::string::npos)
      throw fail(
          fmt::format("tensor {} lies in {}, which is no safetensors file beside it", shown(tensor), shown(name)));
    file_of[tensor] = name;
    files.insert(name);
  }
  if (files.empty()) throw fail("it names no tensor");
  for (const std::string& name : files) add(path_.parent_path() / name);
  for (const auto& [tensor, name] : file_of) {
    if (const auto found = part_of_.find(tensor);
        found == part_of_.end() || parts_[found->second].file->path().filename() != name)
      throw fail(fmt::format("tensor {} is not in {}", shown(tensor), shown(name)));
  }
  for (const auto& [tensor, info] : tensors_) {
    if (!file_of.contains(tensor)) throw fail(fmt::format("it does not name tensor {}", shown(tensor)));
  }
}

void WeightFile::read_plugin() {
  const PluginFile file(path_);
  parts_.push_back({std::make_unique<runtime::InputFile>(path_), 0});
  for (auto& [name, info] : file.weights()) {
    part_of_[name] = 0;
    tensors_.emplace(name, info);
  }
}

void WeightFile::verify() const {
  if (path_.extension() == kPluginEnding) PluginFile(path_).verify();
}

void WeightFile::read(const std::string& tensor, std::uint64_t begin, std::span<std::byte> bytes) const {
  const TensorInfo& info = tensors_.at(tensor);
  CSKD_CHECK(begin + bytes.size() <= info.end - info.begin, "{} bytes from {} of tensor {}", bytes.size(), begin,
             tensor);
  const Part& part = parts_[part_of_.at(tensor)];
  part.file->read_at(part.data_offset + info.begin + begin, bytes);
}

}  // namespace cskd::models
