// Ratings of pictures in a WebDataset, from the files beside them (sidecars): 0007.jpg, 0007.json, 0007.cls.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "config/source.pb.h"
#include "runtime/input_file.h"
#include "shards/importers/rating_scale.h"
#include "shards/importers/tar_index.h"

namespace cskd::shards {

// Which fields beside a picture say what: see CsvColumns.
struct SidecarFields {
  struct Field {
    std::string column;     // the key that names it: "columns.mean"
    std::string name;       // as configured
    std::string extension;  // of the file: ".json", ".cls"
    std::string pointer;    // into its JSON (RFC 6901); empty: the whole text
  };

  // Throws DataError without a place for a name that is no JSON pointer although it begins with '/', or no extension
  // although it begins with a dot.
  explicit SidecarFields(const config::CsvColumns& columns);

  bool are_given() const noexcept { return mean || !counts.empty(); }
  bool read(std::string_view extension) const;  // whether files with this extension, in lower case, are read

  std::optional<Field> mean;
  std::optional<Field> stddev;
  std::vector<Field> counts;  // one of all counts, or one for each bin
  std::optional<Field> split;
};

// The ratings of one archive.
class SidecarRatings {
 public:
  // REQUIRES: fields.are_given(); all of them outlive this.
  SidecarRatings(const SidecarFields& fields, const RatingScale& scale, const runtime::InputFile& archive,
                 const std::vector<TarMember>& members);
  ~SidecarRatings();

  struct Rating {
    std::optional<Label> label;
    Split split = Split::kTrain;
  };
  // Of the picture of this name; without a label where it has no such file, field or value (null). The file beside it
  // is
  // "<name without its last extension>.json", otherwise, as WebDataset has it, "<name to the first dot>.json". Throws
  // DataError naming archive and file: no JSON, no number, a score off the scale.
  Rating of(const std::string& picture);

  // Throws DataError when there were pictures and not one had a certain field: it is misspelt, then.
  void refuse_unknown_fields() const;

 private:
  using Field = SidecarFields::Field;

  const TarMember* beside(std::string_view picture, const std::string& extension) const;
  nlohmann::json value(const std::string& picture, const Field& field);
  const nlohmann::json& document(const TarMember& file);
  std::optional<Label> label(const std::string& picture);
  std::vector<double> counts(const std::string& picture);

  const SidecarFields& fields_;
  const RatingScale& scale_;
  const runtime::InputFile& archive_;
  std::map<std::string, const TarMember*, std::less<>> files_;  // by name, its extension in lower case
  const TarMember* opened_ = nullptr;                           // what document_ is of
  std::unique_ptr<nlohmann::json> document_;
  std::string place_;  // file or picture that is looked at
  std::uint64_t pictures_ = 0;
  std::map<const Field*, std::uint64_t> found_;
};

}  // namespace cskd::shards
