#include "data/open_files.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace cskd::data {
namespace {

// Knows how many of its kind are there.
struct Reader {
  explicit Reader(std::uint32_t given, std::atomic<int>& counter) : number(given), there(counter) { ++there; }
  ~Reader() { --there; }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  std::uint32_t number;
  std::atomic<int>& there;
};

TEST(OpenFiles, KeepsThoseThatWereUsedLast) {
  std::atomic<int> there{0};
  std::vector<std::uint32_t> opened;
  OpenFiles<Reader> files(2, [&](std::uint32_t number) {
    opened.push_back(number);
    return std::make_shared<const Reader>(number, there);
  });
  for (const std::uint32_t number : {1U, 2U, 1U, 3U, 1U, 2U, 2U}) EXPECT_EQ(files.get(number)->number, number);
  EXPECT_EQ(opened, (std::vector<std::uint32_t>{1, 2, 3, 2}));
  EXPECT_EQ(there, 2);
}

TEST(OpenFiles, AReaderInUseOutlivesItsPlace) {
  std::atomic<int> there{0};
  OpenFiles<Reader> files(1, [&](std::uint32_t number) { return std::make_shared<const Reader>(number, there); });
  const auto first = files.get(1);
  static_cast<void>(files.get(2));
  EXPECT_EQ(there, 2);
  EXPECT_EQ(first->number, 1U);
}

TEST(OpenFiles, DoNotTryAFailureAgain) {
  int tries = 0;
  OpenFiles<Reader> files(2, [&](std::uint32_t) -> std::shared_ptr<const Reader> {
    ++tries;
    throw std::runtime_error("gone");
  });
  for (int i = 0; i < 3; ++i) EXPECT_THROW(files.get(7), std::runtime_error);
  EXPECT_EQ(tries, 1);
}

TEST(OpenFiles, ManyThreadsShareOneReader) {
  std::atomic<int> there{0};
  std::atomic<int> opened{0};
  OpenFiles<Reader> files(3, [&](std::uint32_t number) {
    ++opened;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return std::make_shared<const Reader>(number, there);
  });
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < 6; ++i) {
      threads.emplace_back([&files, i] {
        for (std::uint32_t use = 0; use < 200; ++use) {
          const std::uint32_t number = (i + use) % 3;
          ASSERT_EQ(files.get(number)->number, number);
        }
      });
    }
  }
  EXPECT_EQ(opened, 3);
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < 6; ++i) {
      threads.emplace_back([&files, i] {
        for (std::uint32_t use = 0; use < 20; ++use) ASSERT_EQ(files.get(i * 7 + use % 11)->number, i * 7 + use % 11);
      });
    }
  }
  EXPECT_LE(there, 3);
}

}  // namespace
}  // namespace cskd::data
