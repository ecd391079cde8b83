#include "models/plugin/plugin_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/plugin/json_reader.h"
#include "models/plugin/program_reader.h"
#include "models/statistic_name.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

constexpr std::string_view kProgram = "models/model.json";
constexpr std::uint64_t kLargestText = 64'000'000;

// Of the types that JsonReader reads.
std::uint64_t bytes_of(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
    case at::kLong:
      return 8;
    case at::kFloat:
    case at::kInt:
      return 4;
    case at::kHalf:
    case at::kBFloat16:
    case at::kShort:
      return 2;
    default:
      return 1;
  }
}

}  // namespace

PluginFile::PluginFile(const std::filesystem::path& path) : file_(path), members_(read_stored_zip(file_)) {
  for (const auto& [member, place] : members_) {
    const std::size_t slash = member.find('/');
    if (slash != std::string::npos && std::string_view(member).substr(slash + 1) == kProgram)
      root_ = member.substr(0, slash + 1);
  }
  if (root_.empty()) {
    throw runtime::DataError(
        fmt::format("{} holds no {}: it is no program of torch.export.save(). Make one with launch/export_encoder.py, "
                    "or torch.export.export() and torch.export.save()",
                    path.native(), kProgram));
  }
  const std::string order = find("byteorder") == nullptr ? "little" : text("byteorder", 16);
  if (order != "little")
    throw runtime::DataError(fmt::format("{} was written with bytes in another order", path.native()));
}

const ZipMember* PluginFile::find(const std::string& path) const {
  const auto found = members_.find(root_ + path);
  return found == members_.end() ? nullptr : &found->second;
}

std::string PluginFile::text(const std::string& path, std::uint64_t limit) const {
  const ZipMember* const member = find(path);
  if (member == nullptr) throw runtime::DataError(fmt::format("{} lacks {}", file_.path().native(), path));
  return read_member(file_, path, *member, limit);
}

std::string PluginFile::program() const { return text(std::string(kProgram), kLargestProgram); }

std::string PluginFile::description() const {
  return find("extra/cskd.json") == nullptr ? "" : text("extra/cskd.json", kLargestText);
}

std::map<std::string, TensorInfo> PluginFile::weights() const {
  std::map<std::string, TensorInfo> tensors;
  add_tensors("weights", true, tensors);
  return tensors;
}

std::map<std::string, TensorInfo> PluginFile::constants() const {
  std::map<std::string, TensorInfo> tensors;
  add_tensors("weights", false, tensors);
  add_tensors("constants", false, tensors);
  return tensors;
}

// Of the files of this kind those that are weights, or those that are not.
void PluginFile::add_tensors(const std::string& kind, bool are_weights,
                             std::map<std::string, TensorInfo>& tensors) const {
  const std::string place = fmt::format("data/{}/", kind);
  const std::string list = fmt::format("{}model_{}_config.json", place, kind);
  const JsonReader json(fmt::format("{}: {}", file_.path().native(), list));
  const nlohmann::json document = json.parse(text(list, kLargestText));
  std::map<std::string, std::string> name_of;
  for (const auto& [name, entry] : json.object(json.field(document, "config")).items()) {
    if (name.ends_with("num_batches_tracked")) continue;  // no forward pass reads it
    if ((json.truth(json.field(entry, "is_param")) || is_statistic(name)) != are_weights) continue;
    const std::string member = place + json.text(json.field(entry, "path_name"));
    if (json.truth(json.field(entry, "use_pickle"))) json.fail(fmt::format("{} is pickled", shown(name)));
    const ZipMember* const bytes = find(member);
    if (bytes == nullptr) json.fail(fmt::format("the file lacks {}, the bytes of {}", shown(member), shown(name)));
    if (const auto [other, is_new] = name_of.emplace(member, name); !is_new) {
      json.fail(fmt::format("{} and {} share their memory; give each its own (clone()) before the export",
                            shown(other->second), shown(name)));
    }
    const nlohmann::json& meta = json.field(entry, "tensor_meta");
    TensorInfo info{.type = json.type(json.field(meta, "dtype")), .shape = json.shape(json.field(meta, "sizes"), 0)};
    std::int64_t numbers = 1;
    const nlohmann::json& strides = json.list(json.field(meta, "strides"));
    if (strides.size() != info.shape.size()) json.fail(fmt::format("{} has other strides than sizes", shown(name)));
    for (std::size_t i = info.shape.size(); i-- > 0; numbers *= info.shape[i]) {
      if (info.shape[i] > 1 && json.whole_of(strides[i]) != numbers)
        json.fail(fmt::format("{} is not contiguous; call contiguous() before the export", shown(name)));
    }
    const std::uint64_t size = static_cast<std::uint64_t>(numbers) * bytes_of(info.type);
    if (json.whole_of(json.field(meta, "storage_offset")) != 0 || bytes->size != size) {
      json.fail(
          fmt::format("{} has {} bytes in {}, where {} are expected; a part of a larger tensor must be cloned "
                      "before the export",
                      shown(name), bytes->size, shown(member), size));
    }
    info.begin = bytes->offset;
    info.end = bytes->offset + bytes->size;
    tensors.emplace(name, std::move(info));
  }
}

std::vector<std::byte> PluginFile::read(const TensorInfo& info) const {
  for (const auto& [path, member] : members_)
    if (member.offset == info.begin && member.size == info.end - info.begin) require_checksum(file_, path, member);
  return file_.read_at(info.begin, info.end - info.begin);
}

void PluginFile::verify() const {
  for (const auto& [path, member] : members_) require_checksum(file_, path, member);
}

}  // namespace cskd::models
