#include "packing/source_list.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "data/decode.h"
#include "packing/image_check.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/input_file.h"
#include "runtime/sealed_file.h"
#include "runtime/shared_files.h"
#include "runtime/work_queue.h"
#include "shards/importers/importer.h"

namespace cskd::packing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kChunkSamples = 512;  // on average
constexpr std::uint64_t kMostChunkSamples = 2048;

shards::SurveyChunk::Picture picture_of(const shards::Entry& entry) {
  shards::SurveyChunk::Picture picture;
  picture.set_key(entry.key);
  picture.set_file(entry.file);
  picture.set_offset(entry.offset);
  picture.set_size(entry.size);
  picture.set_changed(entry.changed);
  picture.set_split(static_cast<std::uint32_t>(entry.split));
  picture.set_fault(entry.fault);
  if (entry.label) {
    picture.set_mean(entry.label->mean);
    picture.set_stddev(entry.label->stddev);
    picture.mutable_histogram()->Assign(entry.label->histogram.begin(), entry.label->histogram.end());
  }
  return picture;
}

// What decides a checked chunk besides the list.
runtime::ContentHash digest_of(const std::string& list, const config::Packing& packing) {
  runtime::ContentHasher hasher;
  hasher.add_field(kSurveyVersion);
  hasher.add_field(data::kDecoderVersion);
  hasher.add_field(packing.max_side());
  hasher.add_field(packing.quality());
  hasher.add_field(packing.max_megapixels());
  if (packing.alpha() != kDropAlpha) hasher.add(packing.alpha());
  hasher.add(list);
  return hasher.hash();
}

// Sorted as text in the order of sources and parts.
std::string place_of(std::uint32_t source, std::uint32_t part) { return fmt::format("{:010}-{:010}", source, part); }

// Cuts what a part of a source lists into chunks.
class ChunkWriter {
 public:
  ChunkWriter(std::function<void(const shards::SurveyChunk&)> write) : write_(std::move(write)) {}

  void take(const shards::Entry& entry) {
    *chunk_.add_pictures() = picture_of(entry);
    const auto samples = static_cast<std::uint64_t>(chunk_.pictures_size());
    if (runtime::content_hash(entry.key).prefix() % kChunkSamples == 0 || samples == kMostChunkSamples) finish();
  }
  void finish() {
    if (chunk_.pictures_size() > 0) write_(chunk_);
    chunk_.Clear();
  }

 private:
  std::function<void(const shards::SurveyChunk&)> write_;
  shards::SurveyChunk chunk_;
};

void write_plainly(const fs::path& path, const std::string& bytes) {
  runtime::failure_point("survey.list", path.native());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw runtime::Error(fmt::format("cannot write {}: is the disk full?", path.native()));
}

}  // namespace

shards::SurveyChunk parse_chunk(const std::string& bytes, const fs::path& path) {
  shards::SurveyChunk chunk;
  if (!chunk.ParseFromString(bytes)) throw runtime::DataError(fmt::format("{} is damaged", path.native()));
  return chunk;
}

SourceList::SourceList(const PackingContext& context, const std::vector<config::Source>& sources, fs::path folder)
    : context_(context), sources_(sources), folder_(std::move(folder)) {
  list();
  refuse_empty_sources();
  refuse_other_files();
}

fs::path SourceList::list_path(const Chunk& chunk) const {
  return folder_ / fmt::format("{}-{}-{}", chunk.source, chunk.part, chunk.number);
}

// Writes the chunks of a part and describes each in a line.
std::string SourceList::list_part(std::uint32_t source, std::uint32_t part, const std::string& name,
                                  PassedOver& passed_over) {
  std::string lines;
  Chunk chunk{.source = source, .part = part};
  ChunkWriter writer([&](const shards::SurveyChunk& listed) {
    const std::string bytes = listed.SerializeAsString();
    write_plainly(list_path(chunk), bytes);
    std::uint64_t size = 0;
    for (const auto& picture : listed.pictures()) size += picture.size();
    lines += fmt::format("{} {} {} {} {} {}\n", source, part, chunk.number, listed.pictures_size(), size,
                         digest_of(bytes, context_.config.packing()).hex());
    ++chunk.number;
  });
  try {
    shards::make_importer(sources_[source], unpacked_folder())->list(name, [&](shards::Entry&& entry) {
      if (entry.passed_over.empty()) {
        writer.take(entry);
      } else {
        passed_over.add(entry);
      }
    });
  } catch (const std::exception&) {
    runtime::rethrow_with_context(fmt::format("source '{}' cannot be used", sources_[source].name()));
  }
  writer.finish();
  return lines;
}

fs::path SourceList::passed_over_path(const std::string& place) const { return folder_ / ("passed-over-" + place); }

// Returns how many there are of each kind, for gather_passed_over().
std::string SourceList::write_passed_over(const PassedOver& passed_over, const std::string& place) const {
  const std::string lines = passed_over.lines();
  if (!lines.empty()) write_plainly(passed_over_path(place), lines);
  return passed_over.summary(place);
}

// Counts of all ranks on each. `own` holds lines "<place> <count> <kind>".
void SourceList::gather_passed_over(const std::string& own) {
  std::set<std::string> places;
  for (const std::string& text : context_.world.all_gather(own)) {
    std::istringstream stream(text);
    std::string place;
    std::uint64_t count = 0;
    for (std::string kind; stream >> place >> count && std::getline(stream >> std::ws, kind);) {
      passed_over_[std::stoul(place)][kind] += count;
      places.insert(place);
    }
  }
  passed_over_places_.assign(places.begin(), places.end());
}

void SourceList::for_each_passed_over(const std::function<void(std::string_view line)>& take) const {
  for (const std::string& place : passed_over_places_) {
    const runtime::InputFile file(passed_over_path(place));
    const std::vector<std::byte> bytes = file.read_at(0, file.size());
    take({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
}

void SourceList::list() {
  passed_over_.resize(sources_.size());
  std::vector<std::tuple<std::uint32_t, std::uint32_t, std::string>> parts;
  std::vector<std::uint32_t> part_counts;  // by source
  std::string passed_over;
  runtime::ContentHasher names;
  for (std::uint32_t source = 0; source < sources_.size(); ++source) {
    try {
      PassedOver beside(sources_[source], sources_[source].path(), 1);
      const auto importer = shards::make_importer(sources_[source], unpacked_folder());
      std::uint32_t part = 0;
      for (const std::string& name : importer->parts([&](const shards::Entry& entry) { beside.add(entry); })) {
        names.add_field(name);
        parts.emplace_back(source, part++, name);
      }
      part_counts.push_back(part);
      if (context_.world.rank() == 0) passed_over += write_passed_over(beside, place_of(source, part));
    } catch (const std::exception&) {
      runtime::rethrow_with_context(fmt::format("source '{}' cannot be used", sources_[source].name()));
    }
  }
  const std::string own = names.hash().hex();
  const std::vector<std::string> all = context_.world.all_gather(own);
  const auto other = std::find_if(all.begin(), all.end(), [&](const std::string& hash) { return hash != own; });
  if (other != all.end()) {
    throw runtime::DataError(
        fmt::format("rank {} and rank {} see other archives in the sources: are all on a shared file system?",
                    context_.world.rank(), other - all.begin()));
  }

  std::string lines;
  {
    const auto total = static_cast<std::int64_t>(parts.size());
    runtime::WorkQueue queue(context_.world, total);
    while (const auto i = queue.next()) {
      const auto& [source, part, name] = parts[static_cast<std::size_t>(*i)];
      PassedOver in_part(sources_[source], name, part_counts[source]);
      lines += list_part(source, part, name, in_part);
      passed_over += write_passed_over(in_part, place_of(source, part));
    }
    queue.finish("sources were listed");
  }
  gather_passed_over(passed_over);
  for (const std::string& text : context_.world.all_gather(lines)) {
    std::istringstream stream(text);
    Chunk chunk;
    std::string hex;
    while (stream >> chunk.source >> chunk.part >> chunk.number >> chunk.samples >> chunk.bytes >> hex) {
      chunk.digest = runtime::ContentHash::from_hex(hex);
      chunks_.push_back(chunk);
    }
  }
  std::sort(chunks_.begin(), chunks_.end(), [](const Chunk& a, const Chunk& b) {
    return std::tie(a.source, a.part, a.number) < std::tie(b.source, b.part, b.number);
  });
  for (Chunk& chunk : chunks_) {
    chunk.first = samples_;
    samples_ += chunk.samples;
  }
}

void SourceList::refuse_empty_sources() const {
  for (std::uint32_t source = 0; source < sources_.size(); ++source) {
    const bool has_any =
        std::any_of(chunks_.begin(), chunks_.end(), [&](const Chunk& chunk) { return chunk.source == source; });
    if (has_any) continue;
    const std::string kinds = text_of_kinds(passed_over_[source]);
    throw runtime::DataError(
        fmt::format("source '{}' cannot be used: {} holds no picture (.jpg, .jpeg, .png, .webp): is the path right?{}",
                    sources_[source].name(), sources_[source].path(),
                    kinds.empty() ? "" : fmt::format(" (passed over: {})", kinds)));
  }
}

// Each rank looks for the first picture of every source: one that mounts something else there would call all faulty.
void SourceList::refuse_other_files() const {
  std::set<std::uint32_t> seen;
  for (const Chunk& chunk : chunks_) {
    if (!seen.insert(chunk.source).second) continue;
    const shards::SurveyChunk listed = read(chunk);
    const auto usable = std::find_if(listed.pictures().begin(), listed.pictures().end(),
                                     [](const auto& picture) { return picture.fault().empty(); });
    if (usable == listed.pictures().end()) continue;
    std::error_code error;
    if (!fs::exists(usable->file(), error)) {
      throw runtime::DataError(
          fmt::format("rank {} does not see {}, which another rank lists: are all sources on a shared file system?",
                      context_.world.rank(), usable->file()));
    }
  }
}

shards::SurveyChunk SourceList::read(const Chunk& chunk) const {
  const fs::path file = list_path(chunk);
  runtime::wait_until_there(file);
  return parse_chunk(runtime::read_text_file(file, 1ULL << 30), file);
}

}  // namespace cskd::packing
