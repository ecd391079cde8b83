#include <charconv>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <sys/stat.h>

#include "runtime/error.h"
#include "runtime/input_file.h"
#include "shards/importers/importer.h"

namespace cskd::shards {
namespace {

constexpr size_t kBins = 10;
constexpr size_t kColumns = 15;  // index, id, ten counts, two tags, challenge
constexpr std::uint64_t kLargestList = 1ULL << 30;

// Calls take(number of the line, its blank-separated whole numbers) for each line that is not empty.
template <typename Take>
void for_each_line(const std::filesystem::path& file, Take take) {
  const std::string text = runtime::read_text_file(file, kLargestList);
  int line_number = 0;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    std::string_view line(text.data() + start, end - start);
    start = end + 1;
    ++line_number;
    std::vector<std::int64_t> numbers;
    for (;;) {
      while (!line.empty() && (line.front() == ' ' || line.front() == '\t' || line.front() == '\r'))
        line.remove_prefix(1);
      if (line.empty()) break;
      std::int64_t number = 0;
      const auto [after, error] = std::from_chars(line.data(), line.data() + line.size(), number);
      const auto length = static_cast<size_t>(after - line.data());
      if (error != std::errc() ||
          (length < line.size() && line[length] != ' ' && line[length] != '\t' && line[length] != '\r')) {
        throw runtime::DataError(fmt::format("{}:{}: '{}' is not a whole number", file.native(), line_number,
                                             line.substr(0, std::min<size_t>(line.find(' '), 40))));
      }
      numbers.push_back(number);
      line.remove_prefix(length);
    }
    if (!numbers.empty()) take(line_number, numbers);
  }
}

}  // namespace

Listing list_ava(const std::filesystem::path& folder) {
  const std::filesystem::path ratings = folder / "AVA.txt";
  const std::filesystem::path test_list = folder / "aesthetics_image_lists" / "generic_test.jpgl";
  for (const std::filesystem::path& needed : {ratings, test_list, folder / "images"}) {
    if (!std::filesystem::exists(needed)) {
      throw runtime::DataError(fmt::format("{} is not there; AVA's layout has it", needed.native()));
    }
  }
  std::set<std::int64_t> test_ids;
  for_each_line(test_list, [&](int line, const std::vector<std::int64_t>& numbers) {
    if (numbers.size() != 1) {
      throw runtime::DataError(
          fmt::format("{}:{}: {} numbers, expected one image id", test_list.native(), line, numbers.size()));
    }
    test_ids.insert(numbers[0]);
  });

  Listing listing;
  for (size_t bin = 0; bin < kBins; ++bin) listing.bin_centres.push_back(static_cast<float>(bin + 1));
  for_each_line(ratings, [&](int line, const std::vector<std::int64_t>& numbers) {
    const std::string place = fmt::format("{}:{}", ratings.native(), line);
    if (numbers.size() != kColumns) {
      throw runtime::DataError(fmt::format("{}: {} numbers, expected {}", place, numbers.size(), kColumns));
    }
    const std::string key = fmt::format("{}.jpg", numbers[1]);
    const std::filesystem::path image = folder / "images" / key;
    struct stat status {};
    if (::stat(image.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
      listing.faults.push_back({key, "rated, but the picture is not there"});
      return;
    }
    try {
      listing.labels.push_back(
          label_from_counts({numbers.begin() + 2, numbers.begin() + 2 + kBins}, listing.bin_centres));
    } catch (const runtime::DataError&) {
      runtime::rethrow_with_context(place);
    }
    listing.entries.push_back({.key = key,
                               .file = image.native(),
                               .size = static_cast<std::uint64_t>(status.st_size),
                               .split = test_ids.contains(numbers[1]) ? Split::kTest : Split::kTrain,
                               .label = static_cast<std::int32_t>(listing.labels.size() - 1)});
  });
  return listing;
}

}  // namespace cskd::shards
