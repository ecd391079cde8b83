#include "models/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
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

constexpr std::uint64_t kAlignment = 64;

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

bool is_finite(const at::Tensor& tensor) {
  if (!tensor.is_floating_point()) return true;
  // A sum that is finite has finite terms, and costs less than a look at each; one that overflowed tells nothing.
  const at::NoGradGuard no_gradients;
  return std::isfinite(tensor.sum().item<double>()) || tensor.isfinite().all().item<bool>();
}

void require_finite(const at::Tensor& tensor, const std::string& name, const std::string& path) {
  if (is_finite(tensor)) return;
  throw runtime::DataError(
      fmt::format("{}: the tensor '{}' holds numbers that are not finite: the training that wrote it "
                  "failed, or the file is damaged",
                  path, name));
}

std::map<std::string, at::Tensor> read_safetensors(const std::filesystem::path& path) {
  const runtime::InputFile file(path);
  const SafetensorsHeader header = read_safetensors_header(file);
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
