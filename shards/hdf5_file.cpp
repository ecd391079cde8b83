#include "shards/hdf5_file.h"

#include <array>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <hdf5.h>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"

namespace cskd::shards {
namespace {

std::mutex library;  // Note [HDF5 and threads]

constexpr hsize_t kAlignment = 4096;
constexpr std::size_t kLargeWrite = 1 << 20;
constexpr unsigned kMostDimensions = 4;

// An identifier of the library with the function that gives it back.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;
  hid_t get() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// The root cause on the library's error stack.
std::string last_message() {
  std::string text = "unknown HDF5 error";
  const auto take = [](unsigned depth, const H5E_error2_t* error, void* target) -> herr_t {
    if (depth == 0 && error->desc != nullptr) *static_cast<std::string*>(target) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take, &text);
  return text;
}

void silence() {
  static const bool once = [] {
    H5open();
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    return true;
  }();
  static_cast<void>(once);
}

// How files are opened. Without the library's locks: they fail where the file system has none and may hang where its
// lock service does, and guard nothing here, since a file has one writer, under a temporary name, and readers open it
// when it has its own. HDF5_USE_FILE_LOCKING, where it is set, goes before this.
Handle file_access() {
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access.get(), false, true);
  return access;
}

// IEEE 754 binary16, little-endian; HDF5 1.10 has no such type of its own.
Handle half_type() {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(type.get(), 15, 10, 5, 0, 10);
  H5Tset_size(type.get(), 2);
  H5Tset_ebias(type.get(), 15);
  return type;
}

Handle native(ElementType type) {
  switch (type) {
    case ElementType::kU8:
      return {H5Tcopy(H5T_STD_U8LE), H5Tclose};
    case ElementType::kU16:
      return {H5Tcopy(H5T_STD_U16LE), H5Tclose};
    case ElementType::kU32:
      return {H5Tcopy(H5T_STD_U32LE), H5Tclose};
    case ElementType::kU64:
      return {H5Tcopy(H5T_STD_U64LE), H5Tclose};
    case ElementType::kI32:
      return {H5Tcopy(H5T_STD_I32LE), H5Tclose};
    case ElementType::kF16:
      return half_type();
    case ElementType::kF32:
      return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose};
  }
  CSKD_CHECK(false, "element type {}", static_cast<int>(type));
  return {-1, H5Tclose};
}

std::string_view name_of(ElementType type) {
  constexpr std::array<std::string_view, 7> kNames{"u8", "u16", "u32", "u64", "i32", "f16", "f32"};
  return kNames[static_cast<size_t>(type)];
}

// The disk begins with what was written, so that a later fsync finds little left to wait for. A hint: no file system
// need follow it.
void start_write_back(hid_t file) {
  void* descriptor = nullptr;
  if (H5Fget_vfd_handle(file, H5P_DEFAULT, &descriptor) < 0 || descriptor == nullptr) return;
  ::sync_file_range(*static_cast<int*>(descriptor), 0, 0, SYNC_FILE_RANGE_WRITE);
}

std::optional<ElementType> element_type(hid_t stored) {
  for (const ElementType type : {ElementType::kU8, ElementType::kU16, ElementType::kU32, ElementType::kU64,
                                 ElementType::kI32, ElementType::kF16, ElementType::kF32}) {
    if (H5Tequal(stored, native(type).get()) > 0) return type;
  }
  return std::nullopt;
}

}  // namespace

std::uint64_t size_of(ElementType type) {
  constexpr std::array<std::uint64_t, 7> kSizes{1, 2, 4, 8, 4, 2, 4};
  return kSizes[static_cast<size_t>(type)];
}

struct Hdf5Writer::Dataset {
  hid_t id = -1;
  ElementType type = ElementType::kU8;
  std::vector<std::uint64_t> shape;
};

Hdf5Writer::Hdf5Writer(std::filesystem::path path) : path_(std::move(path)) {
  const std::lock_guard lock(library);
  silence();
  const Handle access = file_access();
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
  H5Pset_alignment(access.get(), kAlignment, kAlignment);
  // Without times the same contents give the same bytes.
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation.get(), false);
  file_ = H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, creation.get(), access.get());
  if (file_ < 0) throw runtime::Error(fmt::format("cannot create {}: {}", path_.native(), last_message()));
}

Hdf5Writer::~Hdf5Writer() {
  if (file_ < 0) return;
  const std::lock_guard lock(library);
  for (const auto& [name, dataset] : datasets_) H5Dclose(dataset.id);
  H5Fclose(file_);
}

void Hdf5Writer::create(const std::string& name, ElementType type, const std::vector<std::uint64_t>& shape) {
  std::vector<hsize_t> dimensions(shape.begin(), shape.end());
  for (const std::uint64_t length : shape) CSKD_CHECK(length > 0, "dataset {} has an empty dimension", name);
  const std::lock_guard lock(library);
  const Handle space(H5Screate_simple(static_cast<int>(dimensions.size()), dimensions.data(), nullptr), H5Sclose);
  for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
    const std::string group = name.substr(0, slash);
    if (H5Lexists(file_, group.c_str(), H5P_DEFAULT) > 0) continue;
    const Handle untimed(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
    H5Pset_obj_track_times(untimed.get(), false);
    const Handle made(H5Gcreate2(file_, group.c_str(), H5P_DEFAULT, untimed.get(), H5P_DEFAULT), H5Gclose);
  }
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_layout(creation.get(), H5D_CONTIGUOUS);
  H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);
  H5Pset_obj_track_times(creation.get(), false);
  const hid_t id =
      H5Dcreate2(file_, name.c_str(), native(type).get(), space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT);
  if (id < 0) throw runtime::Error(fmt::format("cannot create {} in {}: {}", name, path_.native(), last_message()));
  datasets_[name] = {id, type, shape};
}

void Hdf5Writer::write_rows(const std::string& name, std::uint64_t start, std::uint64_t count,
                            std::span<const std::byte> bytes) {
  const Dataset& dataset = datasets_.at(name);
  std::uint64_t row_size = size_of(dataset.type);
  for (size_t i = 1; i < dataset.shape.size(); ++i) row_size *= dataset.shape[i];
  CSKD_CHECK(bytes.size() == row_size * count && start + count <= dataset.shape[0], "{} bytes for {} rows of {}",
             bytes.size(), count, name);
  if (count == 0) return;
  runtime::failure_point("hdf5_file.write", path_.native());
  std::vector<hsize_t> from(dataset.shape.size(), 0);
  std::vector<hsize_t> length(dataset.shape.begin(), dataset.shape.end());
  from[0] = start;
  length[0] = count;
  const std::lock_guard lock(library);
  const Handle target(H5Dget_space(dataset.id), H5Sclose);
  H5Sselect_hyperslab(target.get(), H5S_SELECT_SET, from.data(), nullptr, length.data(), nullptr);
  const Handle memory(H5Screate_simple(static_cast<int>(length.size()), length.data(), nullptr), H5Sclose);
  if (H5Dwrite(dataset.id, native(dataset.type).get(), memory.get(), target.get(), H5P_DEFAULT, bytes.data()) < 0) {
    throw runtime::Error(
        fmt::format("cannot write {} rows of {} to {}: {}", count, name, path_.native(), last_message()));
  }
  if (bytes.size() >= kLargeWrite) start_write_back(file_);
}

void Hdf5Writer::write(const std::string& name, ElementType type, const std::vector<std::uint64_t>& shape,
                       std::span<const std::byte> bytes) {
  create(name, type, shape);
  write_rows(name, 0, shape.front(), bytes);
}

void Hdf5Writer::set_attribute(const std::string& name, const std::string& text) {
  const std::lock_guard lock(library);
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), std::max<size_t>(text.size(), 1));
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(file_, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!attribute.valid() || H5Awrite(attribute.get(), type.get(), text.empty() ? "\0" : text.data()) < 0) {
    throw runtime::Error(fmt::format("cannot write attribute {} of {}: {}", name, path_.native(), last_message()));
  }
}

void Hdf5Writer::set_attribute(const std::string& name, std::uint64_t number) {
  const std::lock_guard lock(library);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(file_, name.c_str(), H5T_STD_U64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                         H5Aclose);
  if (!attribute.valid() || H5Awrite(attribute.get(), H5T_NATIVE_UINT64, &number) < 0) {
    throw runtime::Error(fmt::format("cannot write attribute {} of {}: {}", name, path_.native(), last_message()));
  }
}

std::map<std::string, std::uint64_t> Hdf5Writer::close() {
  const std::lock_guard lock(library);
  std::map<std::string, std::uint64_t> offsets;
  bool failed = H5Fflush(file_, H5F_SCOPE_GLOBAL) < 0;
  for (const auto& [name, dataset] : datasets_) {
    offsets[name] = H5Dget_offset(dataset.id);
    failed = failed || offsets[name] == HADDR_UNDEF || H5Dclose(dataset.id) < 0;
  }
  datasets_.clear();
  failed = H5Fclose(std::exchange(file_, -1)) < 0 || failed;
  if (failed) throw runtime::Error(fmt::format("cannot finish {}: {}", path_.native(), last_message()));
  return offsets;
}

Hdf5Layout::Hdf5Layout(const std::filesystem::path& path) : path_(path) {
  const std::lock_guard lock(library);
  silence();
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, file_access().get()), H5Fclose);
  if (!file.valid()) {
    throw runtime::DataError(
        fmt::format("{} does not open as HDF5 ({}): it is cut off, damaged, or its writer was killed", path.native(),
                    last_message()));
  }
  const auto take_object = [](hid_t root, const char* name, const H5O_info_t* info, void* target) -> herr_t {
    if (info->type != H5O_TYPE_DATASET) return 0;
    auto& datasets = *static_cast<decltype(datasets_)*>(target);
    const Handle dataset(H5Dopen2(root, name, H5P_DEFAULT), H5Dclose);
    if (!dataset.valid()) return -1;
    const Handle space(H5Dget_space(dataset.get()), H5Sclose);
    const Handle type(H5Dget_type(dataset.get()), H5Tclose);
    const int rank = H5Sget_simple_extent_ndims(space.get());
    const std::optional<ElementType> element = element_type(type.get());
    const haddr_t offset = H5Dget_offset(dataset.get());
    if (rank < 1 || rank > static_cast<int>(kMostDimensions) || !element || offset == HADDR_UNDEF) return 0;
    std::array<hsize_t, kMostDimensions> shape{};
    H5Sget_simple_extent_dims(space.get(), shape.data(), nullptr);
    datasets[name] = {*element, {{shape.begin(), shape.begin() + rank}, offset}};
    return 0;
  };
  const auto take_attribute = [](hid_t root, const char* name, const H5A_info_t*, void* target) -> herr_t {
    auto& layout = *static_cast<Hdf5Layout*>(target);
    const Handle attribute(H5Aopen(root, name, H5P_DEFAULT), H5Aclose);
    const Handle type(H5Aget_type(attribute.get()), H5Tclose);
    if (H5Tget_class(type.get()) == H5T_STRING && H5Tis_variable_str(type.get()) == 0) {
      std::string text(H5Tget_size(type.get()), '\0');
      if (H5Aread(attribute.get(), type.get(), text.data()) < 0) return -1;
      layout.texts_[name] = text.substr(0, text.find('\0'));
    } else if (H5Tget_class(type.get()) == H5T_INTEGER && H5Aget_storage_size(attribute.get()) == 8) {
      std::uint64_t number = 0;
      if (H5Aread(attribute.get(), H5T_NATIVE_UINT64, &number) < 0) return -1;
      layout.numbers_[name] = number;
    }
    return 0;
  };
  if (H5Ovisit2(file.get(), H5_INDEX_NAME, H5_ITER_NATIVE, take_object, &datasets_, H5O_INFO_BASIC) < 0 ||
      H5Aiterate2(file.get(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, take_attribute, this) < 0) {
    throw runtime::DataError(fmt::format("{} is damaged: {}", path.native(), last_message()));
  }
}

const DatasetInfo& Hdf5Layout::dataset(const std::string& name, ElementType type) const {
  const auto found = datasets_.find(name);
  if (found == datasets_.end() || found->second.first != type) {
    throw runtime::DataError(
        fmt::format("{} has no contiguous dataset /{} of type {}", path_.native(), name, name_of(type)));
  }
  return found->second.second;
}

const std::string& Hdf5Layout::text(const std::string& attribute) const {
  const auto found = texts_.find(attribute);
  if (found == texts_.end())
    throw runtime::DataError(fmt::format("{} has no text attribute '{}'", path_.native(), attribute));
  return found->second;
}

std::uint64_t Hdf5Layout::number(const std::string& attribute) const {
  const auto found = numbers_.find(attribute);
  if (found == numbers_.end())
    throw runtime::DataError(fmt::format("{} has no number '{}'", path_.native(), attribute));
  return found->second;
}

}  // namespace cskd::shards
