#include "shards/importers/split_rule.h"

#include <utility>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/content_hash.h"

namespace cskd::shards {
namespace {

class SplitImporter final : public Importer {
 public:
  SplitImporter(std::unique_ptr<Importer> importer, const config::Source& source)
      : importer_(std::move(importer)), source_(source) {}

  std::vector<std::string> parts(const TakeEntry& take) const override { return importer_->parts(take); }

  void list(const std::string& part, const TakeEntry& take) const override {
    importer_->list(part, [&](Entry&& entry) {
      entry.split = entry.label ? split_of(entry) : Split::kUnlabelled;
      if (entry.split == Split::kUnlabelled) entry.label.reset();
      take(std::move(entry));
    });
  }

 private:
  // Of an entry with a label.
  Split split_of(const Entry& entry) const {
    switch (source_.split()) {
      case config::Source::official:
        return entry.split == Split::kTrain ? drawn(entry.key) : entry.split;
      case config::Source::random:
        return drawn(entry.key);
      case config::Source::train:
        return Split::kTrain;
      case config::Source::validation:
        return Split::kValidation;
      case config::Source::test:
        return Split::kTest;
      case config::Source::unlabelled:
        return Split::kUnlabelled;
      default:
        CSKD_CHECK(false, "split rule {}", static_cast<int>(source_.split()));
    }
  }

  Split drawn(const std::string& key) const {
    if (source_.test_share() == 0 && source_.validation_share() == 0) return Split::kTrain;
    const double position = position_of(source_.name(), key);
    if (position < source_.test_share()) return Split::kTest;
    return position < source_.test_share() + source_.validation_share() ? Split::kValidation : Split::kTrain;
  }

  std::unique_ptr<Importer> importer_;
  config::Source source_;
};

}  // namespace

double position_of(std::string_view source_name, std::string_view key) {
  runtime::ContentHasher hasher;
  hasher.add_field(source_name);
  hasher.add_field(key);
  return static_cast<double>(hasher.hash().prefix() >> 11) * 0x1p-53;
}

std::unique_ptr<Importer> with_split_rule(std::unique_ptr<Importer> importer, const config::Source& source) {
  return std::make_unique<SplitImporter>(std::move(importer), source);
}

}  // namespace cskd::shards
