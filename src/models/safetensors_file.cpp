#include <algorithm>
#include <array>
#include <span>
#include <string>

#include <fmt/format.h>

#include "models/safetensors_header.h"

namespace cskd::models {
namespace {

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

}  // namespace

SafetensorsHeader read_safetensors_header(const runtime::InputFile& file) {
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

SafetensorsHeader read_safetensors_header(const std::filesystem::path& path) {
  return read_safetensors_header(runtime::InputFile(path));
}

}  // namespace cskd::models
