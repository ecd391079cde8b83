#include "packing/survey.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>

#include "packing/image_check.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "runtime/sealed_file.h"
#include "runtime/shared_files.h"
#include "runtime/threads.h"
#include "runtime/work_queue.h"

namespace cskd::packing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMagic = "CSKDSURV";
constexpr std::uint64_t kDecodingMemory = 512ULL << 20;

}  // namespace

Survey::Survey(const PackingContext& context, std::vector<config::Source> sources)
    : context_(context),
      sources_(std::move(sources)),
      work_folder_(context.folder / "work"),
      survey_folder_(context.folder / "survey") {
  if (context_.world.rank() == 0) {
    std::error_code error;
    runtime::remove_leftover(work_folder_, "of an earlier packing");  // lists are written anew whatever stays
    fs::create_directories(work_folder_, error);
    for (const config::Source& source : sources_) {
      if (!error) fs::create_directories(survey_folder_ / source.name(), error);
    }
    if (error) runtime::throw_system_error(fmt::format("cannot prepare {}", work_folder_.native()), error.value());
  }
  context_.world.barrier();
  runtime::wait_until_there(work_folder_);
  for (const config::Source& source : sources_) runtime::wait_until_there(survey_folder_ / source.name());
  list_.emplace(context_, sources_, work_folder_);
  check();
}

Survey::~Survey() {
  if (context_.world.rank() == 0) runtime::remove_leftover(work_folder_, "the lists of this packing");
}

fs::path Survey::path(const Chunk& chunk, const char* extension) const {
  return survey_folder_ / sources_[chunk.source].name() / (chunk.digest.hex() + extension);
}

void Survey::check() {
  DecodingMemory memory(kDecodingMemory);
  {
    const auto total = static_cast<std::int64_t>(list_->chunks().size());
    runtime::WorkQueue queue(context_.world, total, {.takers = context_.threads});
    runtime::run_on_threads(context_.threads, [&](int thread) {
      while (const auto i = queue.next()) {
        const Chunk& chunk = list_->chunks()[static_cast<std::size_t>(*i)];
        check_chunk(chunk, memory);
        if (context_.world.rank() == 0 && thread == 0) {
          context_.progress("checking", static_cast<std::int64_t>(chunk.first + chunk.samples),
                            static_cast<std::int64_t>(list_->samples()));
        }
      }
    });
    queue.finish("pictures were checked");
  }
  if (context_.world.rank() == 0)
    context_.progress("checking", static_cast<std::int64_t>(list_->samples()),
                      static_cast<std::int64_t>(list_->samples()));
}

void Survey::check_chunk(const Chunk& chunk, DecodingMemory& memory) const {
  const fs::path target = path(chunk, ".chunk");
  if (fs::exists(target)) {
    try {
      if (static_cast<std::uint32_t>(read(chunk).pictures_size()) == chunk.samples) return;
    } catch (const runtime::Error&) {
      // Damaged: it is made again.
    }
  }
  shards::SurveyChunk checked = list_->read(chunk);
  std::unique_ptr<runtime::AtomicFile> smaller_pictures;
  std::uint64_t smaller_bytes = 0;
  for (auto& picture : *checked.mutable_pictures()) {
    const std::vector<std::byte> smaller = check_picture(context_.config.packing(), picture, memory);
    if (!picture.smaller()) continue;
    if (!smaller_pictures) smaller_pictures = std::make_unique<runtime::AtomicFile>(path(chunk, ".pictures"));
    picture.set_smaller_offset(smaller_bytes);
    smaller_bytes += smaller.size();
    smaller_pictures->write(smaller);
  }
  if (smaller_pictures) smaller_pictures->commit();
  runtime::write_sealed_file(target, kMagic, kSurveyVersion, checked.SerializeAsString());
}

shards::SurveyChunk Survey::read(const Chunk& chunk) const {
  const fs::path file = path(chunk, ".chunk");
  return parse_chunk(runtime::read_sealed_file(file, kMagic, kSurveyVersion), file);
}

const Chunk& Survey::chunk_of(std::uint64_t number) const {
  const auto next = std::upper_bound(list_->chunks().begin(), list_->chunks().end(), number,
                                     [](std::uint64_t wanted, const Chunk& chunk) { return wanted < chunk.first; });
  return *(next - 1);
}

std::vector<ChunkPlace> Survey::places(const shards::SurveyChunk& chunk) {
  // A message's repeated field: a byte of tag and wire type, the length as a varint, the picture.
  std::vector<ChunkPlace> places;
  std::uint64_t offset = runtime::kSealedHeader;
  for (const auto& picture : chunk.pictures()) {
    const auto size = static_cast<std::uint32_t>(picture.ByteSizeLong());
    offset += 1 + google::protobuf::io::CodedOutputStream::VarintSize32(size);
    places.push_back({offset, size});
    offset += size;
  }
  return places;
}

std::vector<shards::SurveyChunk::Picture> Survey::read_pictures(const Chunk& chunk,
                                                                std::span<const ChunkPlace> places) const {
  const runtime::InputFile file(path(chunk, ".chunk"));
  std::vector<shards::SurveyChunk::Picture> pictures(places.size());
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::vector<std::byte> bytes = file.read_at(places[i].offset, places[i].size);
    if (!pictures[i].ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      throw runtime::DataError(fmt::format("{} is damaged", file.path().native()));
  }
  return pictures;
}

void Survey::read_stored(const Chunk& chunk, const shards::SurveyChunk::Picture& picture,
                         std::span<std::byte> target) const {
  if (!picture.smaller()) return runtime::InputFile(picture.file()).read_at(picture.offset(), target);
  const fs::path file = path(chunk, ".pictures");
  // It is there unless the chunk was checked for an earlier packing.
  if (fs::exists(file)) return runtime::InputFile(file).read_at(picture.smaller_offset(), target);
  const std::vector<std::byte> bytes = stored_bytes(context_.config.packing(), picture);
  if (bytes.size() != target.size())
    throw runtime::DataError(fmt::format("'{}' changed while the corpus was packed", picture.file()));
  std::copy(bytes.begin(), bytes.end(), target.begin());
}

void Survey::forget_the_rest() const {
  std::vector<std::string> wanted;
  for (const Chunk& chunk : list_->chunks()) wanted.push_back(chunk.digest.hex());
  std::sort(wanted.begin(), wanted.end());
  const auto is_wanted = [&](const fs::path& file) {
    return file.extension() == ".chunk" && std::binary_search(wanted.begin(), wanted.end(), file.stem().native());
  };
  // Files may be millions: some at a time, because what changes a folder while it is listed may be seen or not.
  constexpr std::size_t kAtOnce = 4096;
  for (std::vector<fs::path> rest;; rest.clear()) {
    for (const auto& item : fs::recursive_directory_iterator(survey_folder_)) {
      if (item.is_regular_file() && !is_wanted(item.path())) rest.push_back(item.path());
      if (rest.size() == kAtOnce) break;
    }
    const auto gone = std::count_if(rest.begin(), rest.end(),
                                    [](const fs::path& file) { return runtime::remove_leftover(file, "the chunk"); });
    if (gone == 0 || rest.size() < kAtOnce) return;
  }
}

}  // namespace cskd::packing
