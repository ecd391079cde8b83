// From a source as it lies on disk to a listing of its samples: one function for each kind. Reading is the same for
// all: bytes [offset, offset + size) of Entry::file.
//
// Each throws DataError when the source is missing, empty of pictures, or its lists are damaged (file and line are
// named). What is hidden (a name with a leading dot) is passed over. Links are followed; a folder is visited once, so
// that loops of links end.
#pragma once

#include <filesystem>

#include "config/source.pb.h"
#include "shards/sample.h"

namespace cskd::shards {

// Files with a picture's extension (.jpg .jpeg .jpe .png .webp, any case), below the folder.
Listing list_folder(const std::filesystem::path& folder);

// WebDataset: a folder with .tar files (subfolders included), or one .tar file. Members with a picture's extension
// become samples with the key "<tar>/<member>"; others are passed over. Nothing is extracted.
Listing list_webdataset(const std::filesystem::path& path);

// AVA: `AVA.txt` (index, image id, ten counts for scores 1..10, two tags, challenge), `images/<id>.jpg`, and
// `aesthetics_image_lists/generic_test.jpgl`: its ids are the test split, every other rated picture is the train split.
Listing list_ava(const std::filesystem::path& folder);

// By source.kind(); errors name the source.
Listing list_source(const config::Source& source);

bool has_picture_extension(const std::filesystem::path& file);

}  // namespace cskd::shards
