// Weight files in the safetensors format (https://github.com/huggingface/safetensors, "Format"): a u64 little-endian
// header length, a JSON header, the tensors' bytes. Files from outside are hostile: every bound is checked before it is
// used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/atomic_file.h"

namespace cskd::models {

struct TensorInfo {
  at::ScalarType type = at::kFloat;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // of its bytes, from the end of the header
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;  // __metadata__
  std::map<std::string, TensorInfo> tensors;
  std::uint64_t data_offset = 0;  // of the first tensor byte in the file
};

// Checks, each with its own message: header length at most 100,000,000 and inside the file; UTF-8 that starts with '{';
// no key twice; metadata values are strings; known types; shapes without negative or overflowing products; begin <=
// end; sorted by begin, each tensor starts where the previous ends, the first at 0, the last ends with the file; end -
// begin equals the shape's bytes. Empty and rank-0 tensors are legal. Throws DataError that names the file (exit code
// 3), Error when it cannot be read. A file that looks like a pickle (.pt, .pth: starts with 0x80 or "PK") is refused
// with how to convert it.
SafetensorsHeader read_safetensors_header(const std::filesystem::path& path);

// All tensors of a file, on the CPU, in their stored type. Throws as above.
std::map<std::string, at::Tensor> read_safetensors(const std::filesystem::path& path);

// Throws DataError that names file and tensor when the weight `tensor` holds NaN or infinity.
void require_finite(const at::Tensor& tensor, const std::string& name, const std::string& path);

// Writes CPU or GPU tensors (made contiguous) atomically, in the given order; the header is padded with blanks so that
// the data starts at a multiple of 64 bytes. Types: f64, f32, f16, bf16, i64, i32, i16, i8, u8, bool.
runtime::FileFacts write_safetensors(const std::filesystem::path& path,
                                     const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                                     const std::map<std::string, std::string>& metadata);

}  // namespace cskd::models
