#include "inspect/corpus_summary.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "runtime/error.h"
#include "runtime/free_space.h"
#include "runtime/input_file.h"
#include "shards/image_shard/format.h"

namespace cskd::inspect {
namespace {

// How often each width or height occurs: medians without keeping every one.
class SideCounts {
 public:
  void add(std::uint16_t side) {
    ++counts_[side];
    ++total_;
  }

  SideRange range() const {
    if (total_ == 0) return {};
    return {at(0), at((total_ - 1) / 2), at(total_ - 1)};
  }

 private:
  // The side at a position of the rising order.
  std::uint16_t at(std::uint64_t position) const {
    std::size_t side = 0;
    for (std::uint64_t before = counts_[0]; before <= position; before += counts_[++side]) {
    }
    return static_cast<std::uint16_t>(side);
  }

  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(65'536);
  std::uint64_t total_ = 0;
};

// What is read of one shard.
struct Columns {
  std::vector<std::uint64_t> offset;
  std::vector<std::uint16_t> size;
  std::vector<std::uint8_t> format, orientation;
  std::vector<float> mean;

  Columns(const std::filesystem::path& path, const Manifest::Shard& shard) {
    if (!std::filesystem::exists(path)) throw runtime::DataError("the file is missing");
    const runtime::InputFile file(path);
    if (file.size() != shard.file_size()) {
      throw runtime::DataError(
          fmt::format("has {} bytes, {} were written: it was cut off or replaced", file.size(), shard.file_size()));
    }
    const std::uint64_t n = shard.samples();
    offset = file.read_numbers<std::uint64_t>(shard.offsets().offset(), n + 1);
    size = file.read_numbers<std::uint16_t>(shard.offsets().size(), 2 * n);
    format = file.read_numbers<std::uint8_t>(shard.offsets().format(), n);
    orientation = file.read_numbers<std::uint8_t>(shard.offsets().orientation(), n);
    if (shard.bins() > 0) mean = file.read_numbers<float>(shard.offsets().label_mean(), n);
    if (!shards::rises_to(offset, shard.total_bytes())) {
      throw runtime::DataError("/offset does not rise to the length of /bytes");
    }
  }
};

// A group while its shards come.
struct Group {
  GroupSummary summary;
  SideCounts widths, heights;
  double sum_of_scores = 0;
  std::uint64_t scores = 0;
  bool has_range = false;

  void set_range(const Manifest::Source& source, const std::vector<float>& means) {
    if (std::exchange(has_range, true)) return;
    const auto take = [this](const auto& values) {
      bool is_first = true;
      for (const float value : values) {
        if (!std::isfinite(value)) continue;
        summary.scores.low = is_first ? value : std::min(summary.scores.low, double{value});
        summary.scores.high = is_first ? value : std::max(summary.scores.high, double{value});
        is_first = false;
      }
    };
    source.bin_centres_size() > 0 ? take(source.bin_centres()) : take(means);
  }

  void add_score(double score) {
    ++scores;
    sum_of_scores += score;
    const auto bins = static_cast<double>(summary.scores.counts.size());
    const double range = summary.scores.high - summary.scores.low;
    const double bin = range > 0 ? std::floor((score - summary.scores.low) / range * bins) : 0;
    ++summary.scores.counts[static_cast<std::size_t>(std::clamp(bin, 0.0, bins - 1))];
  }

  void add(const Columns& columns, const Manifest::Shard& shard) {
    ++summary.shards;
    summary.withdrawn += static_cast<std::uint64_t>(shard.withdrawn_size());
    summary.bins = std::max(summary.bins, shard.bins());
    auto withdrawn = shard.withdrawn().begin();
    for (std::uint64_t row = 0; row < shard.samples(); ++row) {
      if (withdrawn != shard.withdrawn().end() && *withdrawn == row) {
        ++withdrawn;
        continue;
      }
      ++summary.samples;
      summary.bytes += columns.offset[row + 1] - columns.offset[row];
      const std::size_t format = columns.format[row];
      ++summary.formats[format < summary.formats.size() ? format : 0];
      const std::size_t orientation = columns.orientation[row];
      ++summary.orientations[orientation < summary.orientations.size() ? orientation : 0];
      widths.add(columns.size[2 * row]);
      heights.add(columns.size[2 * row + 1]);
      if (shard.bins() > 0 && std::isfinite(columns.mean[row])) add_score(columns.mean[row]);
    }
  }

  GroupSummary finished() const {
    GroupSummary result = summary;
    result.width = widths.range();
    result.height = heights.range();
    if (scores > 0) result.mean_score = sum_of_scores / static_cast<double>(scores);
    return result;
  }
};

// Of the name of a source, in tables.
constexpr std::size_t kLongestName = 24;

std::uint64_t turned(const GroupSummary& group) {
  std::uint64_t count = 0;
  for (std::size_t orientation = 2; orientation < group.orientations.size(); ++orientation) {
    count += group.orientations[orientation];
  }
  return count;
}

// "key = value; key = value; ..." in lines of at most 100 columns. What is empty is left out, and so is `prefix` of a
// key.
std::string settings_text(const std::string& label, const std::string& prefix,
                          const google::protobuf::RepeatedPtrField<Manifest::Setting>& settings) {
  std::string text;
  std::string line = "  " + label + ":";
  for (const Manifest::Setting& setting : settings) {
    if (setting.value().empty() || setting.value() == "\"\"" || setting.value() == "[]") continue;
    const std::string key = setting.key().substr(setting.key().starts_with(prefix) ? prefix.size() : 0);
    const std::string part = " " + printable(key + " = " + setting.value(), 90) + ";";
    if (line.size() + part.size() > 100) text += std::exchange(line, "   ") + "\n";
    line += part;
  }
  if (line.back() == ':') return "";
  line.back() = '\n';
  return text + line;
}

std::string histogram_text(const GroupSummary& group, const std::string& name) {
  constexpr double kLongestBar = 60;
  std::string text = fmt::format("\nscores of {}, {}: mean {:.3f}, {} bins\n", name, to_string(group.split),
                                 group.mean_score.value_or(0), group.bins);
  const auto& counts = group.scores.counts;
  const double step = (group.scores.high - group.scores.low) / static_cast<double>(counts.size());
  const auto most = static_cast<double>(std::max<std::uint64_t>(1, *std::max_element(counts.begin(), counts.end())));
  for (std::size_t bin = 0; bin < counts.size(); ++bin) {
    const double low = group.scores.low + step * static_cast<double>(bin);
    const auto length = static_cast<std::size_t>(std::ceil(kLongestBar * static_cast<double>(counts[bin]) / most));
    const std::string bar(length, '#');
    text +=
        fmt::format("  {:>7.2f} .. {:<7.2f} {:>9}{}{}\n", low, low + step, counts[bin], bar.empty() ? "" : " ", bar);
  }
  return text;
}

std::string groups_text(const std::vector<GroupSummary>& groups, const Manifest& manifest) {
  const auto name_of = [&](const GroupSummary& group) {
    return printable(manifest.sources(static_cast<int>(group.source)).name(), kLongestName);
  };
  std::size_t width = 6;
  for (const GroupSummary& group : groups) width = std::max(width, name_of(group).size());
  std::string text = fmt::format("\n{:<{}} {:<10}{:>7}{:>11}{:>10}{:>11}{:>10}{:>8}{:>8}\n", "source", width, "split",
                                 "shards", "pictures", "withdrawn", "size", "JPEG", "PNG", "WebP");
  for (const GroupSummary& group : groups) {
    text += fmt::format("{:<{}} {:<10}{:>7}{:>11}{:>10}{:>11}{:>10}{:>8}{:>8}\n", name_of(group), width,
                        to_string(group.split), group.shards, group.samples, group.withdrawn,
                        runtime::format_bytes(group.bytes), group.formats[1], group.formats[2], group.formats[3]);
  }
  text += fmt::format("\n{:<{}} {:<10}{:>18}{:>18}{:>10}{:>6}{:>11}\n", "source", width, "split", "width", "height",
                      "turned", "bins", "mean score");
  const auto side = [](const SideRange& range) { return fmt::format("{}-{}-{}", range.min, range.median, range.max); };
  for (const GroupSummary& group : groups) {
    text += fmt::format("{:<{}} {:<10}{:>18}{:>18}{:>10}{:>6}{:>11}\n", name_of(group), width, to_string(group.split),
                        side(group.width), side(group.height), turned(group), group.bins,
                        group.mean_score ? fmt::format("{:.3f}", *group.mean_score) : "-");
  }
  text += "(smallest-median-largest; turned: by EXIF orientation)\n";
  for (const GroupSummary& group : groups) {
    if (group.bins > 0) text += histogram_text(group, name_of(group));
  }
  return text;
}

std::string sources_text(const Manifest& manifest) {
  std::string text = fmt::format("\n{:<24} {:<10} {:<10}{:>7}{:>12}{:>10}{:>8}{:>13}\n", "source", "kind", "splits",
                                 "weight", "duplicates", "near", "leaked", "quarantined");
  for (const Manifest::Source& source : manifest.sources()) {
    text += fmt::format("{:<24} {:<10} {:<10}{:>7.4g}{:>12}{:>10}{:>8}{:>13}\n", printable(source.name(), kLongestName),
                        printable(source.kind(), 10), printable(source.split_rule(), 10), source.weight(),
                        source.duplicates(), source.near_duplicates(), source.leaked(), source.quarantined());
  }
  const bool has_settings = manifest.settings_size() > 0 ||
                            std::any_of(manifest.sources().begin(), manifest.sources().end(),
                                        [](const Manifest::Source& source) { return source.settings_size() > 0; });
  if (has_settings) text += "\nmade with\n";
  if (manifest.settings_size() > 0) text += settings_text("all", "", manifest.settings());
  for (const Manifest::Source& source : manifest.sources()) {
    if (source.settings_size() > 0)
      text +=
          settings_text(printable(source.name(), kLongestName), "sources." + source.name() + ".", source.settings());
  }
  return text;
}

}  // namespace

CorpusSummary summarise(const std::filesystem::path& folder, const Manifest& manifest) {
  CorpusSummary summary;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Group> groups;
  for (const Manifest::Shard& shard : manifest.shards()) {
    const std::filesystem::path path = folder / shard.file();
    try {
      const Columns columns(path, shard);
      Group& group = groups[{shard.source(), shard.split()}];
      group.summary.source = shard.source();
      group.summary.split = static_cast<Split>(shard.split());
      if (shard.bins() > 0) group.set_range(manifest.sources(static_cast<int>(shard.source())), columns.mean);
      group.add(columns, shard);
      ++summary.shards;
      summary.file_bytes += shard.file_size();
      const auto faulty =
          std::count_if(columns.mean.begin(), columns.mean.end(), [](float mean) { return !std::isfinite(mean); });
      if (faulty > 0) {
        summary.faults.push_back(
            {shard.file(), std::nullopt, "", fmt::format("{} mean scores are not numbers", faulty)});
      }
    } catch (const runtime::Error& error) {
      summary.faults.push_back({shard.file(), std::nullopt, "", error.what()});
    }
  }
  for (const auto& [key, group] : groups) {
    summary.groups.push_back(group.finished());
    summary.samples += summary.groups.back().samples;
    summary.withdrawn += summary.groups.back().withdrawn;
    summary.bytes += summary.groups.back().bytes;
  }
  return summary;
}

std::string to_text(const CorpusSummary& summary, const Manifest& manifest) {
  std::string text = summary.groups.empty() ? "" : groups_text(summary.groups, manifest);
  const bool is_lone = manifest.sources_size() == 1 && manifest.sources(0).kind().empty();
  return is_lone ? text : text + sources_text(manifest);
}

std::string printable(const std::string& text, std::size_t longest) {
  std::size_t start = text.size() <= longest ? 0 : text.size() - longest + 2;
  const auto byte = [&text](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  while (start > 0 && (byte(start) & 0xC0U) == 0x80U) ++start;  // a character of several bytes is not cut in two
  std::string shown = start > 0 ? ".." : "";
  for (std::size_t i = start; i < text.size(); ++i) {
    // Control characters, also those of two bytes in UTF-8.
    const bool is_long_control = byte(i) == 0xC2U && byte(i + 1) >= 0x80U && byte(i + 1) <= 0x9FU;
    const bool is_control = byte(i) < 0x20U || byte(i) == 0x7FU || is_long_control;
    shown += is_control ? '?' : text[i];
    if (is_long_control) ++i;
  }
  return shown;
}

}  // namespace cskd::inspect
