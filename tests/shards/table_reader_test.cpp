// Lines and tables, read back from files that were written from known contents.
#include "shards/importers/table_reader.h"

#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace cskd::shards {
namespace {

using testing::ElementsAre;

class TableReading : public testing::Test {
 protected:
  std::filesystem::path file(const std::string& text) const {
    std::ofstream(folder_ / "t", std::ios::binary) << text;
    return folder_ / "t";
  }
  std::vector<std::vector<std::string>> rows(const std::string& text, const std::vector<std::string>& columns,
                                             std::optional<char> delimiter = std::nullopt) const {
    TableReader reader(file(text), delimiter);
    std::vector<std::vector<std::string>> found;
    while (reader.next()) {
      found.emplace_back();
      for (const std::string& column : columns) found.back().push_back(reader.field(reader.column(column)));
    }
    return found;
  }
  tests::TemporaryFolder folder_;
};

TEST_F(TableReading, LinesOfEveryLengthAcrossTheBlocksThatAreRead) {
  std::mt19937 random(7);
  for (const int round : {0, 1, 2, 3, 4, 5}) {
    std::vector<std::string> lines;
    std::string text;
    while (text.size() < 3 << 20) {
      size_t length = random() % (round % 2 == 0 ? 100 : 300'000);
      // So that line ends meet the ends of blocks of any power of two.
      if (round > 1) length = (1U << (10 + random() % 10)) - random() % 3;
      lines.emplace_back(length, static_cast<char>('a' + random() % 26));
      text += lines.back() + (random() % 2 == 0 ? "\n" : "\r\n");
    }
    if (round > 3) text.pop_back();  // no line end at the end of the file
    LineReader reader(file(text));
    for (size_t i = 0; i < lines.size(); ++i) {
      ASSERT_TRUE(reader.next());
      ASSERT_EQ(reader.number(), i + 1);
      ASSERT_EQ(reader.line(), lines[i]) << i;
    }
    ASSERT_FALSE(reader.next());
    ASSERT_FALSE(reader.next());
  }
}

TEST_F(TableReading, ByteOrderMarkAndEmptyLinesAreNoData) {
  EXPECT_THAT(rows("\xEF\xBB\xBF\r\na,b\r\n\r\n1,2\r\n\r\n", {"b", "a"}), ElementsAre(ElementsAre("2", "1")));
  EXPECT_THAT(rows("a\n\n1\n\"\"\n2", {"a"}), ElementsAre(ElementsAre("1"), ElementsAre(""), ElementsAre("2")));
}

TEST_F(TableReading, QuotedFieldsHoldAnything) {
  EXPECT_THAT(rows("a,b\n\"x,\"\"y\"\"\",\"two\nlines\"\n\"\",\"\"\"\"\n", {"a", "b"}),
              ElementsAre(ElementsAre("x,\"y\"", "two\nlines"), ElementsAre("", "\"")));
}

TEST_F(TableReading, NothingIsTrimmed) {
  EXPECT_THAT(rows("a, b\n 1 ,\t\n", {"a", " b"}, ','), ElementsAre(ElementsAre(" 1 ", "\t")));
}

TEST_F(TableReading, TabsOfTheFirstLineDivide) {
  EXPECT_THAT(rows("a\tb,c\n1,2\t3\n", {"a", "b,c"}), ElementsAre(ElementsAre("1,2", "3")));
  EXPECT_THAT(rows("a=b\n1=2,3\n", {"b"}, '='), ElementsAre(ElementsAre("2,3")));
}

TEST_F(TableReading, SpreadsheetsNameTheirDelimiterInFront) {
  EXPECT_THAT(rows("sep=;\r\na;b,c\r\n1;2\r\n", {"b,c"}), ElementsAre(ElementsAre("2")));
  EXPECT_THAT(rows("\xEF\xBB\xBFSEP=\t\na\tb\n1\t2\n", {"b"}), ElementsAre(ElementsAre("2")));
  EXPECT_THAT(rows("sep=;\na|b\n1|2\n", {"b"}, '|'), ElementsAre(ElementsAre("2")));
  EXPECT_THAT(rows("sep==\n1\n", {"sep=="}), ElementsAre(ElementsAre("1")));
  EXPECT_THROW(rows("sep=;\n", {}), runtime::DataError);
}

TEST_F(TableReading, CommentsAndLinesOfCarriageReturnsAreRefusedWithTheRemedy) {
  const TableReader commented(file("# by hand\na,b\n1,2\n"), std::nullopt);
  EXPECT_THAT([&] { commented.column("a"); }, testing::ThrowsMessage<runtime::DataError>(
                                                  testing::HasSubstr("t:1: the first line is a comment; remove it")));
  const TableReader numbered(file("#,score\n1,2\n"), std::nullopt);
  EXPECT_THAT([&] { numbered.column("scoer"); },
              testing::ThrowsMessage<runtime::DataError>(testing::HasSubstr("did you mean 'score'?")));
  EXPECT_THAT([&] { rows("a,b\r1,2\r", {"a"}); },
              testing::ThrowsMessage<runtime::DataError>(testing::HasSubstr("tr '\\r' '\\n'")));
}

TEST_F(TableReading, AnyTableComesBackAsItWasWritten) {
  std::mt19937 random(3);
  const std::string alphabet = "ab,;\"\n \xC3\xA9";
  for (int round = 0; round < 300; ++round) {
    const size_t columns = 1 + random() % 4;
    std::vector<std::string> names;
    std::string text;
    for (size_t i = 0; i < columns; ++i) {
      names.push_back(std::to_string(i));
      text += (i == 0 ? "" : ";") + names.back();
    }
    std::vector<std::vector<std::string>> expected(random() % 6);
    for (auto& row : expected) {
      text += random() % 2 == 0 ? "\n" : "\r\n";
      for (size_t i = 0; i < columns; ++i) {
        std::string value;
        while (random() % 5 != 0) value += alphabet[random() % alphabet.size()];
        std::string quoted = "\"";
        for (const char c : value) quoted += c == '"' ? "\"\"" : std::string(1, c);
        const bool needs_quotes = value.empty() || value.find_first_of(";\"\n") != std::string::npos;
        text += (i == 0 ? "" : ";") + (needs_quotes ? quoted + '"' : value);
        row.push_back(value);
      }
    }
    ASSERT_EQ(rows(text, names, ';'), expected) << text;
  }
}

TEST_F(TableReading, NeverReachesBeyondDamagedText) {
  std::mt19937 random(5);
  const std::string alphabet = "a,\"\n\r\t =\xEF\xBB\xBF";
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    while (random() % 30 != 0) text += alphabet[random() % alphabet.size()];
    try {
      TableReader reader(file(text), round % 2 == 0 ? std::nullopt : std::make_optional('='));
      while (reader.next()) ASSERT_LE(reader.field(0).size(), text.size());
    } catch (const runtime::DataError&) {
      continue;
    }
  }
}

}  // namespace
}  // namespace cskd::shards
