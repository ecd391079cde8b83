// Scores as text: what is written is found again, whatever photos are called, and wherever the file was cut off.
#include "scoring/tables.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

namespace cskd::scoring {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::vector<ScoredPhoto> kPhotos{
    {.name = "a/b.jpg", .score = 5.25, .spread = 1.5, .distribution = {0.5, 0.5}, .error = "", .thumbnail = {}},
    {.name = "a,\"b\"\n.jpg", .distribution = {}, .error = "not \"JPEG\",\nPNG", .thumbnail = {}},
    {.name = "\x1b[31m.png", .score = 2, .spread = 0, .distribution = {1, 0}, .error = "", .thumbnail = {}}};

std::string written(TableFormat format) {
  std::string text = header_text(format);
  for (const ScoredPhoto& photo : kPhotos) text += row_text(format, photo);
  return text;
}

TEST(Tables, NamesAreFoundAgainInWholeLines) {
  for (const TableFormat format : {TableFormat::kCsv, TableFormat::kJsonLines}) {
    const std::string text = written(format);
    std::size_t whole = 0;
    EXPECT_THAT(names_in(format, text, "x", whole), ElementsAre("\x1b[31m.png", "a,\"b\"\n.jpg", "a/b.jpg"));
    EXPECT_EQ(whole, text.size());
    // Cut off anywhere: only what is whole counts, and what follows it can be written again.
    std::size_t last = 0;
    for (std::size_t cut = 0; cut < text.size(); ++cut) {
      const std::set<std::string> names = names_in(format, text.substr(0, cut), "x", whole);
      EXPECT_LE(whole, cut);
      EXPECT_GE(whole, last);
      EXPECT_TRUE(whole == 0 || text[whole - 1] == '\n');
      EXPECT_LT(names.size(), kPhotos.size());
      last = whole;
    }
  }
}

TEST(Tables, OtherFilesAreRefused) {
  std::size_t whole = 0;
  EXPECT_THROW(names_in(TableFormat::kCsv, "name,value\n", "x", whole), runtime::DataError);
  EXPECT_THROW(names_in(TableFormat::kCsv, header_text(TableFormat::kCsv) + "a.jpg,1,2,\n", "x", whole),
               runtime::DataError);
  EXPECT_THROW(names_in(TableFormat::kJsonLines, "{\"photo\": 1}\n", "x", whole), runtime::DataError);
  EXPECT_THROW(names_in(TableFormat::kJsonLines, "photo\n", "x", whole), runtime::DataError);
}

TEST(Tables, ATerminalSeesNoControlCharacters) {
  const std::string text = written(TableFormat::kTable);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("    5.250   1.500  a/b.jpg\n"));
  EXPECT_THAT(text, HasSubstr("not \"JPEG\""));
  const std::string cut =
      row_text(TableFormat::kTable,
               {.name = std::string(200, 'x') + "end.jpg", .distribution = {}, .error = "", .thumbnail = {}}, 60);
  EXPECT_EQ(cut.size(), 61U);
  EXPECT_THAT(cut, HasSubstr("xend.jpg\n"));
}

}  // namespace
}  // namespace cskd::scoring
