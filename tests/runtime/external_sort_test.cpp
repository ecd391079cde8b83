#include "runtime/external_sort.h"

#include <algorithm>
#include <iterator>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace cskd::runtime {
namespace {

struct Item {
  std::uint64_t key = 0;
  std::uint64_t place = 0;

  bool operator==(const Item&) const = default;
};

struct Less {
  bool operator()(const Item& a, const Item& b) const { return a.key != b.key ? a.key < b.key : a.place < b.place; }
};

class ExternalSort : public testing::Test {
 protected:
  std::vector<Item> sorted(const std::vector<Item>& items, std::uint64_t memory) {
    ExternalSorter<Item, Less> sorter(folder_.path() / "sort", memory);
    for (const Item& item : items) sorter.add(item);
    std::vector<Item> result;
    sorter.take_all([&](const Item& item) { result.push_back(item); });
    return result;
  }
  tests::TemporaryFolder folder_;
};

TEST_F(ExternalSort, EqualsSortingInMemory) {
  std::mt19937_64 random(3);
  for (const std::size_t count : {0, 1, 2, 99, 100, 101, 5000}) {
    std::vector<Item> items(count);
    for (std::size_t i = 0; i < count; ++i) items[i] = {random() % 50, i};
    std::vector<Item> expected = items;
    std::sort(expected.begin(), expected.end(), Less());
    for (const std::uint64_t memory : {1ULL, 32ULL, 3200ULL, 1ULL << 20}) {
      if (memory < 1000 && count > 200) continue;  // a file for each record
      EXPECT_EQ(sorted(items, memory), expected) << count << " in " << memory;
    }
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(ExternalSort, MergesFilesOfWhichSomeAreEmpty) {
  std::vector<std::filesystem::path> files;
  for (std::uint64_t i = 0; i < 5; ++i) {
    files.push_back(folder_.path() / std::to_string(i));
    RecordWriter<Item> writer(files.back());
    for (std::uint64_t j = 0; j < 1000 * (i % 3); ++j) writer.add({j * 5 + i, i});
    writer.close();
  }
  std::vector<Item> merged;
  merge_sorted_files<Item>(files, 100, Less(), [&](const Item& item) { merged.push_back(item); });
  EXPECT_EQ(merged.size(), 4000U);
  EXPECT_TRUE(std::is_sorted(merged.begin(), merged.end(), Less()));
}

TEST_F(ExternalSort, CursorsStartAnywhere) {
  const std::filesystem::path path = folder_.path() / "records";
  RecordWriter<Item> writer(path);
  for (std::uint64_t i = 0; i < 10'000; ++i) writer.add({i, 0});
  writer.close();
  const RecordFile<Item> file(path);
  ASSERT_EQ(file.size(), 10'000U);
  EXPECT_EQ(file.at(9'999).key, 9'999U);
  EXPECT_THROW(file.at(10'000), DataError);
  for (const std::uint64_t first : {0, 1, 4095, 4096, 9'999, 10'000, 20'000}) {
    std::uint64_t next = first;
    for (RecordCursor<Item> cursor(file, first); cursor.current() != nullptr; cursor.advance())
      ASSERT_EQ(cursor.current()->key, next++);
    EXPECT_EQ(next, std::max<std::uint64_t>(first, 10'000));
  }
}

TEST_F(ExternalSort, ARecordFileInNoFolderIsAnError) {
  EXPECT_THROW(RecordWriter<Item>(folder_.path() / "missing" / "file"), Error);
}

}  // namespace
}  // namespace cskd::runtime
