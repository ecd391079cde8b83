// Every way in which a configuration file can be wrong, with the exact message a user gets.
#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/reader.h"
#include "runtime/error.h"

namespace cskd::config {
namespace {

struct BadFile {
  const char* name;
  std::string text;
  const char* message;
};

void PrintTo(const BadFile& file, std::ostream* out) { *out << file.name; }

class BadFiles : public testing::TestWithParam<BadFile> {};

TEST_P(BadFiles, AreRefusedWithPlaceExpectationAndNearestKey) {
  try {
    parse_config(GetParam().text, "a.toml", "/base", {});
    FAIL() << "was accepted";
  } catch (const runtime::UsageError& error) {
    EXPECT_STREQ(error.what(), GetParam().message);
  }
}

const std::string kRun = "[run]\nfolder = \"x\"\n";

const BadFile kBadFiles[] = {
    {"Empty", "",
     "a.toml: is empty; a configuration has at least a table [run] with a folder (cskd config --help-all lists the "
     "keys)"},
    {"OnlyComments", "# nothing\n\n",
     "a.toml: is empty; a configuration has at least a table [run] with a folder (cskd config --help-all lists the "
     "keys)"},
    {"UnknownKey", "[run]\nfolder = \"x\"\nsede = 3\n",
     "a.toml:3:1: run.sede is not a key of the configuration, did you mean run.seed?"},
    {"UnknownTable", kRun + "[loging]\nlevel = \"info\"\n",
     "a.toml:3:2: loging is not a key of the configuration, did you mean logging?"},
    {"UnknownKeyLikeNothing", "[run]\nfolder = \"x\"\nzebra = 3\n",
     "a.toml:3:1: run.zebra is not a key of the configuration; run has folder, seed, min_free"},
    {"KeyOfAnotherTable", "[run]\nfolder = \"x\"\nlevel = \"info\"\n",
     "a.toml:3:1: run.level is not a key of the configuration, did you mean logging.level?"},
    {"KeyWithoutItsTable", "seed = 3\n[run]\nfolder = \"x\"\n",
     "a.toml:1:1: seed is not a key of the configuration, did you mean run.seed?"},
    {"MissingTable", "[logging]\nlevel = \"info\"\n",
     "a.toml:1:1: run.folder is missing, expected a path in quotes, of 1 to 4096 bytes"},
    {"MissingKey", "\n[run]\nseed = 3\n",
     "a.toml:2:1: run.folder is missing, expected a path in quotes, of 1 to 4096 bytes"},
    {"EmptyPath", "[run]\nfolder = \"\"\n",
     "a.toml:2:10: run.folder is \"\", expected a path in quotes, of 1 to 4096 bytes"},
    {"PathOfWrongType", "[run]\nfolder = 3\n",
     "a.toml:2:10: run.folder is 3, expected a path in quotes, of 1 to 4096 bytes"},
    {"PathWithNul", "[run]\nfolder = \"a\\u0000b\"\n",
     "a.toml:2:10: run.folder is \"a?b\", expected a path in quotes, of 1 to 4096 bytes"},
    {"LongPath", "[run]\nfolder = \"" + std::string(5000, 'x') + "\"\n",
     "a.toml:2:10: run.folder is \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\", expected a path "
     "in quotes, of 1 "
     "to 4096 bytes"},
    {"TextForNumber", kRun + "seed = \"three\"\n", "a.toml:3:8: run.seed is \"three\", expected a whole number from 0"},
    {"RealForWholeNumber", kRun + "seed = 3.0\n", "a.toml:3:8: run.seed is 3.0, expected a whole number from 0"},
    {"NegativeNumber", kRun + "seed = -1\n", "a.toml:3:8: run.seed is -1, expected a whole number from 0"},
    {"FlagForNumber", kRun + "seed = true\n", "a.toml:3:8: run.seed is true, expected a whole number from 0"},
    {"DateForNumber", kRun + "seed = 2026-01-02\n",
     "a.toml:3:8: run.seed is the date or time 2026-01-02, expected a whole number from 0"},
    {"ListForNumber", kRun + "seed = [1]\n", "a.toml:3:8: run.seed is a list, expected a whole number from 0"},
    {"BelowTheRange", kRun + "min_free = -0.5\n",
     "a.toml:3:12: run.min_free is -0.5, expected a number from 0 to 1000000000"},
    {"AboveTheRange", kRun + "min_free = 1e20\n",
     "a.toml:3:12: run.min_free is 1e+20, expected a number from 0 to 1000000000"},
    {"NotANumber", kRun + "min_free = nan\n",
     "a.toml:3:12: run.min_free is nan, expected a number from 0 to 1000000000"},
    {"Infinite", kRun + "min_free = inf\n", "a.toml:3:12: run.min_free is inf, expected a number from 0 to 1000000000"},
    {"MisspeltChoice", kRun + "[logging]\nlevel = \"inof\"\n",
     "a.toml:4:9: logging.level is \"inof\", expected \"trace\", \"debug\", \"info\", \"warning\", \"error\" or "
     "\"off\", did you "
     "mean \"info\"?"},
    {"ChoiceOfWrongType", kRun + "[logging]\nlevel = 2\n",
     "a.toml:4:9: logging.level is 2, expected \"trace\", \"debug\", \"info\", \"warning\", \"error\" or \"off\""},
    {"ValueForTable", "run = 3\n", "a.toml:1:7: run is 3, expected a table: [run]"},
    {"TableForList", kRun + "[sources]\nname = \"a\"\n",
     "a.toml:3:1: sources is a table, expected a list of tables: [[sources]]"},
    {"ListOfNumbers", kRun + "[run.x]\n",
     "a.toml:3:6: run.x is not a key of the configuration; run has folder, seed, min_free"},
    {"NumbersForTables", "sources = [1]\n" + kRun, "a.toml:1:12: sources[0] is 1, expected a table: [[sources]]"},
    {"BadName", kRun + "[[sources]]\nname = \"My Photos\"\nkind = \"folder\"\npath = \"p\"\n",
     "a.toml:4:8: sources[0].name is \"My Photos\", expected a name in quotes: 1 to 64 of a-z, 0-9, _ and -"},
    {"SameName",
     kRun + "[[sources]]\nname = \"a\"\nkind = \"ava\"\npath = \"p\"\n[[sources]]\nname = \"a\"\nkind = \"ava\"\npath "
            "= \"q\"\n",
     "a.toml:8:8: sources[1].name is \"a\" like sources[0].name, expected a value of its own"},
    {"MissingKeyInAList", kRun + "[[sources]]\nname = \"a\"\nkind = \"ava\"\n",
     "a.toml:3:1: sources[0].path is missing, expected a path in quotes, of 1 to 4096 bytes"},
    {"ManyAtOnce", "[run]\nsed = 1\nmin_free = -1\n\n[logging]\nlevel = \"loud\"\n",
     "a.toml:1:1: run.folder is missing, expected a path in quotes, of 1 to 4096 bytes\n"
     "a.toml:2:1: run.sed is not a key of the configuration, did you mean run.seed?\n"
     "a.toml:3:12: run.min_free is -1, expected a number from 0 to 1000000000\n"
     "a.toml:6:9: logging.level is \"loud\", expected \"trace\", \"debug\", \"info\", \"warning\", \"error\" or "
     "\"off\""},
    {"UnterminatedText", "[run]\nfolder = \"x\n",
     "a.toml:2:12: no valid TOML, in string: unescaped control characters other than TAB (U+0009) are explicitly "
     "prohibited"},
    {"NoValue", "[run]\nfolder =\n", "a.toml:2:9: no valid TOML, in key-value pair: expected value, saw '\\n'"},
    {"DuplicateKey", "[run]\nfolder = \"x\"\nfolder = \"y\"\n",
     "a.toml:3:10: no valid TOML, in key-value pair: cannot redefine existing string 'folder'"},
    {"DuplicateTable", kRun + "[run]\nseed = 2\n",
     "a.toml:3:1: no valid TOML, in table header: cannot redefine existing table 'run'"},
    {"TooLargeNumber", kRun + "seed = 99999999999999999999\n",
     "a.toml:3:28: no valid TOML, in decimal integer: '99999999999999999999' is not representable in 64 bits"},
    {"Garbage", "\x01\x02\x03",
     "a.toml:1:1: no valid TOML, in root table: expected keys, tables, whitespace or comments, saw '\\u0001'"},
    {"DeepNesting", "a = " + std::string(10'000, '['),
     "a.toml:1:261: no valid TOML, in value: exceeded maximum nested value depth of 256 (TOML_MAX_NESTED_VALUES)"},
};

INSTANTIATE_TEST_SUITE_P(Each, BadFiles, testing::ValuesIn(kBadFiles),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(BadFiles, NoMoreThanTwentyProblemsAreListed) {
  std::string text = "[run]\nfolder = \"x\"\n";
  for (int i = 0; i < 50; ++i) text += "unknown" + std::to_string(i) + " = 1\n";
  try {
    parse_config(text, "a.toml", "/", {});
    FAIL() << "was accepted";
  } catch (const runtime::UsageError& error) {
    const std::string message = error.what();
    EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 20);
    EXPECT_THAT(message, testing::EndsWith("\nand 30 more"));
  }
}

}  // namespace
}  // namespace cskd::config
