#include "demo/tar_writer.h"

#include <string>

#include <gtest/gtest.h>

namespace cskd::demo {
namespace {

TEST(TarWriter, WritesBlocksWithAValidChecksumAndTheEndMark) {
  TarWriter writer;
  writer.add("a.txt", "hello");
  writer.add("empty", "");
  writer.add("full", std::string(512, 'x'));
  const std::string tar = writer.finish();
  ASSERT_EQ(tar.size(), 512U * (2 + 1 + 2 + 2));
  EXPECT_EQ(tar.substr(0, 6), std::string("a.txt\0", 6));
  EXPECT_EQ(tar.substr(124, 11), "00000000005");
  EXPECT_EQ(tar.substr(257, 8), std::string("ustar\0", 6) + "00");
  unsigned sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(tar[i]);
  EXPECT_EQ(std::stoul(tar.substr(148, 6), nullptr, 8), sum);
  EXPECT_EQ(tar.substr(512, 5), "hello");
  EXPECT_EQ(tar.substr(tar.size() - 1024), std::string(1024, '\0'));
}

TEST(TarWriter, IsEmptyAfterFinish) {
  TarWriter writer;
  writer.add("a", "x");
  writer.finish();
  EXPECT_EQ(writer.finish(), std::string(1024, '\0'));
}

}  // namespace
}  // namespace cskd::demo
