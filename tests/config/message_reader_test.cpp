#include "config/message_reader.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "every_kind.pb.h"

namespace cskd::config {
namespace {

using tests::EveryKind;

struct Result {
  EveryKind message;
  std::vector<std::string> problems;  // "line:column: text"
};

Result read(const std::string& document) {
  Result result;
  const auto parsed = parse_toml(document);
  if (!std::holds_alternative<TomlTable>(parsed)) throw std::runtime_error(std::get<TomlError>(parsed).text);
  std::vector<Problem> problems;
  MessageReader(problems).read(std::get<TomlTable>(parsed), {1, 1}, "", result.message);
  for (const Problem& problem : problems) {
    result.problems.push_back(std::to_string(problem.place.line) + ":" + std::to_string(problem.place.column) + ": " +
                              problem.text);
  }
  return result;
}

const std::string kInner = "\n[inner]\nlabel = \"x\"\n";

TEST(MessageReader, DefaultsComeFromTheSchema) {
  const Result result = read(kInner);
  EXPECT_THAT(result.problems, testing::IsEmpty());
  EXPECT_TRUE(result.message.flag());
  EXPECT_EQ(result.message.real(), 0.5);
  EXPECT_EQ(result.message.text(), "a b");
  EXPECT_EQ(result.message.colour(), tests::green);
  EXPECT_EQ(result.message.inner().count(), 3);
  EXPECT_THAT(result.message.numbers(), testing::ElementsAre(1, 2));
}

TEST(MessageReader, FillsEveryKindOfField) {
  const Result result = read(R"(
flag = false
small = -2147483648
large = -9223372036854775808
small_natural = 4_294_967_295
large_natural = 0x7FFFFFFFFFFFFFFF
single = 1.5
real = 2
text = "ä\n"
colour = "red"
numbers = []
flags = [true, false]
reals = [1, 2.5]
singles = [0.25]
texts = ["a", ""]
colours = ["green", "red"]
naturals = [1]
integers = [-1]
small_naturals = [7]
place = "/p"
inner = { label = "in", count = 9 }

[[list]]
label = "one"

[[list]]
label = "two"
count = 1
)");
  EXPECT_THAT(result.problems, testing::IsEmpty());
  const EveryKind& message = result.message;
  EXPECT_FALSE(message.flag());
  EXPECT_EQ(message.small(), std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(message.large(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(message.small_natural(), std::numeric_limits<std::uint32_t>::max());
  EXPECT_EQ(message.large_natural(), std::uint64_t{std::numeric_limits<std::int64_t>::max()});
  EXPECT_EQ(message.single(), 1.5F);
  EXPECT_EQ(message.real(), 2.0);
  EXPECT_EQ(message.text(), "ä\n");
  EXPECT_EQ(message.colour(), tests::red);
  EXPECT_THAT(message.numbers(), testing::IsEmpty());
  EXPECT_THAT(message.flags(), testing::ElementsAre(true, false));
  EXPECT_THAT(message.reals(), testing::ElementsAre(1.0, 2.5));
  EXPECT_THAT(message.singles(), testing::ElementsAre(0.25F));
  EXPECT_THAT(message.texts(), testing::ElementsAre("a", ""));
  EXPECT_THAT(message.colours(), testing::ElementsAre(tests::green, tests::red));
  EXPECT_THAT(message.naturals(), testing::ElementsAre(1));
  EXPECT_THAT(message.integers(), testing::ElementsAre(-1));
  EXPECT_THAT(message.small_naturals(), testing::ElementsAre(7));
  EXPECT_EQ(message.place(), "/p");
  EXPECT_EQ(message.inner().label(), "in");
  EXPECT_EQ(message.inner().count(), 9);
  ASSERT_EQ(message.list_size(), 2);
  EXPECT_EQ(message.list(0).count(), 3);
  EXPECT_EQ(message.list(1).label(), "two");
}

TEST(MessageReader, RefusesWhatAFieldCannotHold) {
  const auto problem = [](const std::string& line) {
    const Result result = read(line + kInner);
    return result.problems.size() == 1 ? result.problems[0] : std::to_string(result.problems.size()) + " problems";
  };
  EXPECT_EQ(problem("small = 2147483648"),
            "1:9: small is 2147483648, expected a whole number from -2147483648 to 2147483647");
  EXPECT_EQ(problem("small_natural = 4294967296"),
            "1:17: small_natural is 4294967296, expected a whole number from 0 to 4294967295");
  EXPECT_EQ(problem("large = 1.0"), "1:9: large is 1.0, expected a whole number");
  EXPECT_EQ(problem("single = 1e39"), "1:10: single is 1e+39, expected a number");
  EXPECT_EQ(problem("real = 0"), "1:8: real is 0, expected a number above 0 to 2.5");
  EXPECT_EQ(problem("real = 2.51"), "1:8: real is 2.51, expected a number above 0 to 2.5");
  EXPECT_EQ(problem("flag = 1"), "1:8: flag is 1, expected true or false");
  EXPECT_EQ(problem("colour = \"gren\""),
            "1:10: colour is \"gren\", expected \"red\" or \"green\", did you mean \"green\"?");
  EXPECT_EQ(problem("numbers = 3"),
            "1:11: numbers is 3, expected a list: [a whole number from -2147483648 to 2147483647, ...]");
  EXPECT_EQ(problem("flags = [true, 1]"), "1:16: flags[1] is 1, expected true or false");
  EXPECT_EQ(problem("texts = [[]]"), "1:10: texts[0] is an empty list, expected a text in quotes");
  EXPECT_EQ(problem("list = 1"), "1:8: list is 1, expected a list of tables: [[list]]");
}

TEST(MessageReader, RulesHoldInsideTables) {
  EXPECT_THAT(read("inner = { label = \"x\", count = 10 }").problems,
              testing::ElementsAre("1:32: inner.count is 10, expected a whole number from 1 to 9"));
  EXPECT_THAT(
      read("flag = true").problems,
      testing::ElementsAre("1:1: inner.label is missing, expected a name in quotes: 1 to 64 of a-z, 0-9, _ and -"));
}

TEST(MessageReader, UniqueValuesStayUniqueInLongLists) {
  std::string document = kInner;
  for (int i = 0; i < 20'000; ++i) document += "[[list]]\nlabel = \"l" + std::to_string(i % 19'999) + "\"\n";
  EXPECT_THAT(read(document).problems,
              testing::ElementsAre(
                  testing::HasSubstr("list[19999].label is \"l0\" like list[0].label, expected a value of its own")));
}

}  // namespace
}  // namespace cskd::config
