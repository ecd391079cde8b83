// Weight files in the safetensors format (https://github.com/huggingface/safetensors, "Format"): a u64 little-endian
// header length, a JSON header, the tensors' bytes. Files from outside are hostile: every bound is checked before it is
// used.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/safetensors_header.h"
#include "runtime/atomic_file.h"

namespace cskd::models {

// All tensors of a file, on the CPU, in their stored type. Throws as above.
std::map<std::string, at::Tensor> read_safetensors(const std::filesystem::path& path);

// Whether no number is NaN or infinite; true for whole numbers.
bool is_finite(const at::Tensor& tensor);

// Throws DataError that names file and tensor when the weight `tensor` holds NaN or infinity.
void require_finite(const at::Tensor& tensor, const std::string& name, const std::string& path);

// Writes CPU or GPU tensors (made contiguous) atomically, in the given order; the header is padded with blanks so that
// the data starts at a multiple of 64 bytes. Types: f64, f32, f16, bf16, i64, i32, i16, i8, u8, bool.
runtime::FileFacts write_safetensors(const std::filesystem::path& path,
                                     const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                                     const std::map<std::string, std::string>& metadata);

}  // namespace cskd::models
