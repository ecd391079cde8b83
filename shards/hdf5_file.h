// HDF5 as far as cskd uses it: contiguous datasets that are written once, and read by offset without the library.
//
// Note [HDF5 and threads]
// Debian's HDF5 is not thread-safe, even on different files. Every call of the library here holds one lock; the hot
// path reads with pread at the offsets that offset_of() gives and needs neither. The library's own locks on files are
// not used, unless HDF5_USE_FILE_LOCKING=TRUE asks for them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace cskd::shards {

enum class ElementType { kU8, kU16, kU32, kU64, kI32, kF16, kF32 };

std::uint64_t size_of(ElementType type);

// Datasets lie on multiples of 4 KiB; library version bound V110, so that a file whose writer was killed does not open.
class Hdf5Writer {
 public:
  // Replaces the file. Throws Error.
  explicit Hdf5Writer(std::filesystem::path path);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  // Allocates a dataset ("/label/mean": groups are made) of at least one element. Throws Error.
  void create(const std::string& name, ElementType type, const std::vector<std::uint64_t>& shape);
  // Writes elements [start, start + count) of the dataset in row-major order, counted along the first dimension.
  void write_rows(const std::string& name, std::uint64_t start, std::uint64_t count, std::span<const std::byte> bytes);
  // create() and all rows.
  void write(const std::string& name, ElementType type, const std::vector<std::uint64_t>& shape,
             std::span<const std::byte> bytes);

  void set_attribute(const std::string& name, const std::string& text);
  void set_attribute(const std::string& name, std::uint64_t number);

  // Closes the file and returns where each dataset starts in it. Throws Error when something could not be written.
  std::map<std::string, std::uint64_t> close();

 private:
  struct Dataset;
  std::filesystem::path path_;
  std::int64_t file_ = -1;
  std::map<std::string, Dataset> datasets_;
};

// What an HDF5 file says of one dataset.
struct DatasetInfo {
  std::vector<std::uint64_t> shape;
  std::uint64_t offset = 0;  // of its first byte in the file
};

// The layout of a file of ours. Throws DataError that names the file when it does not open (its writer was killed, or
// it is no HDF5), or when a dataset is missing, of another type, or not contiguous.
class Hdf5Layout {
 public:
  explicit Hdf5Layout(const std::filesystem::path& path);

  const DatasetInfo& dataset(const std::string& name, ElementType type) const;
  bool has(const std::string& name) const { return datasets_.contains(name); }
  const std::string& text(const std::string& attribute) const;
  std::uint64_t number(const std::string& attribute) const;

 private:
  std::filesystem::path path_;
  std::map<std::string, std::pair<ElementType, DatasetInfo>> datasets_;
  std::map<std::string, std::string> texts_;
  std::map<std::string, std::uint64_t> numbers_;
};

}  // namespace cskd::shards
