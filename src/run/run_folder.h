// The folder of a run, and the records of its complete stages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/config.pb.h"
#include "runtime/inputs.h"
#include "runtime/world.h"

namespace cskd::run {

struct RunFolder {
  std::filesystem::path root;

  // Results that lie elsewhere, by the stage that makes them: members of a sweep share them.
  std::map<std::string, std::filesystem::path> elsewhere;

  // Of a stage, "shard", "align.student", "evaluate": <run>/shards, <run>/align/student, <run>/evaluate.
  std::filesystem::path stage(const std::string& name) const;
  std::filesystem::path shards() const { return stage("shard"); }
  std::filesystem::path model(const std::string& stage_name) const { return stage(stage_name) / "model.safetensors"; }
};

// Results of before stages had names, which lie where results of named stages belong: a sentence that says what to do
// about them. Empty: there are none.
std::vector<std::string> old_results(const std::filesystem::path& run);

// A file that a stage made, below its folder, whose XXH3-128 is known already.
struct HashedFile {
  std::filesystem::path file;
  std::string hash;
};

// A finished stage: complete.json in its folder. What it made is whole as long as the files have the hashes that they
// had then. `products` are read again at each start. `files` are many, or large: the ranks that wrote them hashed them,
// they are listed in products.txt beside the record, "<hash>  <bytes>  <time of last change, ns>  <file>" a line, whose
// own hash the record holds, and they are read again only where size or time differ.
struct Completion {
  std::string stage;
  runtime::Inputs inputs;
  double seconds = 0;
  std::uint64_t images = 0;
  std::vector<std::filesystem::path> products;  // relative to the stage's folder
  std::vector<HashedFile> files;
  std::string facts = "{}";                     // JSON of the stage's own, for summaries
};

// Hashes the products and writes the record, last and atomically. One rank calls.
void write_completion(const std::filesystem::path& stage_folder, const Completion& completion);

// What a stage did and was made from, as its record tells; nothing when there is none, or a damaged one. Its products
// may be damaged all the same.
std::optional<Completion> recorded_completion(const std::filesystem::path& stage_folder);

// What to do about a stage that is complete but was made from other inputs. What took hours is never overwritten
// silently; what is cheap to make again may be.
enum class OtherInputs { kRefuse, kMakeAgain };

// Collective: the record that rank 0 reads. Nothing when the stage is not complete, or one of its products is missing
// or damaged (logged), or it was made from other inputs and may be made again. Throws UsageError, naming what differs,
// when it may not. Inputs whose names are `allowed` may differ; a training whose steps were raised so is not complete,
// but goes on from its last checkpoint.
std::optional<Completion> agree_on_completion(const std::filesystem::path& stage_folder, const runtime::Inputs& inputs,
                                              runtime::World& world, OtherInputs other_inputs = OtherInputs::kRefuse,
                                              const std::set<std::string>& allowed = {});

// Makes the folder on rank 0; the others wait. Throws Error.
void make_stage_folder(const std::filesystem::path& folder, runtime::World& world);

}  // namespace cskd::run
