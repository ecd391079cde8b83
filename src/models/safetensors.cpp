#include "models/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <set>
#include <span>
#include <string_view>

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/safetensors_header.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::models {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor bytes are read and written as they lie in memory");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kAlignment = 64;

// Valid files can start with these bytes too (a header of 128 bytes with 0x80): ask only about a file that is refused.
bool looks_like_pickle(const runtime::InputFile& file) {
  std::array<std::byte, 2> start{};
  if (file.size() < start.size()) return false;
  file.read_at(0, start);
  return start[0] == std::byte{0x80} || (start[0] == std::byte{'P'} && start[1] == std::byte{'K'});
}

// The command is meant to be copied into a shell: a file name that would need quotes does not get into it.
std::string conversion_command(const std::filesystem::path& pickle) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=@, ";
  const bool plain = pickle.native().find_first_not_of(kPlain) == std::string::npos;
  const std::filesystem::path source = plain ? pickle : "weights.pt";
  std::filesystem::path target = source;
  target.replace_extension(source.extension() == ".safetensors" ? ".converted.safetensors" : ".safetensors");
  return fmt::format(
      "python3 -c \"import torch, safetensors.torch as s; w = torch.load('{}', map_location='cpu', weights_only=True); "
      "s.save_file({{k: v.contiguous().clone() for k, v in w.items()}}, '{}')\"",
      source.native(), target.native());
}

// What a download often leaves in the place of a large file; empty: neither.
std::string stand_in(const runtime::InputFile& file) {
  std::string start(std::min<std::uint64_t>(file.size(), 64), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(start)));
  if (start.starts_with("version https://git-lfs"))
    return "is a pointer of Git LFS, not the file that it stands for: fetch that with 'git lfs pull'";
  const std::size_t first = start.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && start[first] == '<')
    return "is a web page, not weights: the download needs another address, or you to be logged in";
  return {};
}

[[noreturn]] void refuse(const runtime::InputFile& file, const std::string& reason) {
  if (const std::string what = stand_in(file); !what.empty())
    throw runtime::DataError(fmt::format("{} {}", file.path().native(), what));
  if (!looks_like_pickle(file)) throw invalid_file(file.path().native(), reason);
  throw runtime::DataError(
      fmt::format("{} looks like a PyTorch pickle (.pt, .pth), which is never opened because it can run any program. "
                  "If you trust it, convert it:\n  {}\n"
                  "Where the weights lie deeper, add for example ['state_dict'] behind torch.load(...). For a "
                  "TorchScript archive, such as OpenAI's CLIP files, write torch.jit.load(..., "
                  "map_location='cpu').state_dict() instead.",
                  file.path().native(), conversion_command(file.path())));
}

SafetensorsHeader read_header(const runtime::InputFile& file) {
  if (file.size() < kLengthBytes) {
    refuse(file, fmt::format("it has {} bytes, fewer than the header's length takes", file.size()));
  }
  std::uint64_t length = 0;
  file.read_at(0, std::as_writable_bytes(std::span(&length, 1)));
  if (length > kLargestHeader) {
    refuse(file, fmt::format("its header would have {} bytes, at most {} are allowed", length, kLargestHeader));
  }
  const std::uint64_t behind_length = file.size() - kLengthBytes;
  if (length > behind_length) {
    refuse(file, fmt::format("its header would have {} bytes, but only {} follow: it was cut off or is another file",
                             length, behind_length));
  }
  std::string text(length, '\0');
  file.read_at(kLengthBytes, std::as_writable_bytes(std::span(text)));
  if (!text.starts_with('{')) refuse(file, "its header does not start with '{'");
  SafetensorsHeader header = parse_safetensors_header(file.path().native(), text, behind_length - length);
  header.data_offset = kLengthBytes + length;
  return header;
}

at::Tensor allocate(const std::string& file, const std::string& name, const TensorInfo& info) {
  try {
    return at::empty(info.shape, at::TensorOptions(info.type));
  } catch (const c10::Error& error) {
    throw runtime::Error(
        fmt::format("cannot hold tensor {} of {} in memory: {}", shown(name), file, error.what_without_backtrace()));
  }
}

at::Tensor read_tensor(const runtime::InputFile& file, const SafetensorsHeader& header, const std::string& name,
                       const TensorInfo& info) {
  at::Tensor tensor = allocate(file.path().native(), name, info);
  const std::span bytes(static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes());
  CSKD_CHECK(bytes.size() == info.end - info.begin, "tensor {} has {} bytes", name, bytes.size());
  file.read_at(header.data_offset + info.begin, bytes);
  // A bool that is neither 0 nor 1 is undefined behaviour wherever it is used.
  if (info.type == at::kBool && std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; })) {
    throw invalid_file(file.path().native(),
                       fmt::format("tensor {} of type BOOL holds a byte that is neither 0 nor 1", shown(name)));
  }
  return tensor;
}

}  // namespace

SafetensorsHeader read_safetensors_header(const std::filesystem::path& path) {
  return read_header(runtime::InputFile(path));
}

void require_finite(const at::Tensor& tensor, const std::string& name, const std::string& path) {
  if (!tensor.is_floating_point() || tensor.isfinite().all().item<bool>()) return;
  throw runtime::DataError(
      fmt::format("{}: the tensor '{}' holds numbers that are not finite: the training that wrote it "
                  "failed, or the file is damaged",
                  path, name));
}

std::map<std::string, at::Tensor> read_safetensors(const std::filesystem::path& path) {
  const runtime::InputFile file(path);
  const SafetensorsHeader header = read_header(file);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, info] : header.tensors) {
    tensors.emplace_hint(tensors.end(), name, read_tensor(file, header, name, info));
  }
  return tensors;
}

runtime::FileFacts write_safetensors(const std::filesystem::path& path,
                                     const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                                     const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json[std::string(kMetadataKey)] = metadata;
  std::set<std::string_view> names;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    CSKD_CHECK(name != kMetadataKey && names.insert(name).second, "tensor name {} is taken", name);
    CSKD_CHECK(tensor.defined(), "tensor {} is undefined", name);
    const std::string_view type = name_of_type(tensor.scalar_type());
    CSKD_CHECK(!type.empty() && tensor.layout() == at::kStrided, "tensor {} is {}, which safetensors cannot hold", name,
               tensor.toString());
    const std::uint64_t end = offset + tensor.nbytes();
    json[name] = {{"dtype", type}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = json.dump();
  text.append((kAlignment - (kLengthBytes + text.size()) % kAlignment) % kAlignment, ' ');
  CSKD_CHECK(text.size() <= kLargestHeader, "the header of {} has {} bytes", path.native(), text.size());

  runtime::AtomicFile file(path);
  const std::uint64_t length = text.size();
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(text);
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor stored = tensor.detach().to(at::kCPU).contiguous();
    file.write({static_cast<const std::byte*>(stored.const_data_ptr()), stored.nbytes()});
  }
  return file.commit();
}

}  // namespace cskd::models
