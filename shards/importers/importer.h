// From a collection of pictures as it lies on disk to a stream of its samples. Reading is the same for all kinds: bytes
// [offset, offset + size) of Entry::file.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "config/source.pb.h"
#include "runtime/input_file.h"
#include "shards/sample.h"

namespace cskd::shards {

// One source of a configuration. What is hidden (a name with a leading dot) is passed over. Links are followed; a
// folder is visited once, so that loops of links end. Memory does not grow with the number of pictures, except for
// lists of labels, which are held while they are read.
class Importer {
 public:
  virtual ~Importer() = default;

  // Pieces that different ranks may list at the same time, always in the same order: the archives of a WebDataset; one
  // piece for every other kind. `take` gets the files beside them, which are passed over. Throws DataError when the
  // source is missing or empty of such pieces.
  virtual std::vector<std::string> parts(const TakeEntry& take) const {
    static_cast<void>(take);
    return {""};
  }

  // Every sample of a piece. Throws DataError when its lists are damaged (file and line are named), Error when
  // something cannot be read. A sample that is listed but not there has a fault.
  virtual void list(const std::string& part, const TakeEntry& take) const = 0;
};

// By source.kind(). The splits of what it lists are those that the source's split rule gives. Compressed archives are
// unpacked into `scratch`, a folder that is made where it is needed; what was listed of them lies there. Throws
// UsageError when keys of the source contradict each other.
std::unique_ptr<Importer> make_importer(const config::Source& source, const std::filesystem::path& scratch);

// Score of each bin of the labels: source.mapped_bins(), source.bins(), or those of its kind; empty when it has no
// labels or its rule says unlabelled.
std::vector<float> bin_centres(const config::Source& source);

// .jpg .jpeg .jpe .jfif .pjpeg .pjp .png .webp, any case. Which format it really is, its first bytes tell.
bool has_picture_extension(const std::filesystem::path& file);

// In lower case, for counting what is no picture by its name: ".txt", or kNoExtension, also for one that is too long to
// be the name of a format.
inline constexpr const char* kNoExtension = "no extension";
std::string kind_of_file(const std::filesystem::path& file);

// Whether bytes [offset, offset + size) begin as JPEG, PNG or WebP: for names without an extension. Throws Error when
// the file cannot be read.
bool begins_as_picture(const runtime::InputFile& file, std::uint64_t offset, std::uint64_t size);

}  // namespace cskd::shards
