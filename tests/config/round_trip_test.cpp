// Random messages survive being written as TOML and read again.
#include <cmath>
#include <cstring>

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "config/message_reader.h"
#include "config/reader.h"
#include "config/toml_writer.h"
#include "every_kind.pb.h"
#include "runtime/philox.h"

namespace cskd::config {
namespace {

using runtime::Philox;
using tests::EveryKind;

// Finite, of any magnitude.
double any_real(Philox& random) {
  for (;;) {
    const std::uint64_t bits = random.bits64();
    double number = 0;
    std::memcpy(&number, &bits, sizeof(number));
    if (std::isfinite(number)) return number;
  }
}

std::string any_text(Philox& random) {
  constexpr const char* kPieces[] = {"a", "\"", "\\", "\n", "\t", "\x7f", "\x01", "ä", "😀", "'", "#", "=", " "};
  std::string text;
  for (std::uint32_t i = random.below(8); i > 0; --i) text += kPieces[random.below(std::size(kPieces))];
  return text;
}

std::string any_name(Philox& random) { return "n" + std::to_string(random()); }

EveryKind any_message(Philox& random) {
  EveryKind message;
  message.set_flag(random.below(2) == 0);
  message.set_small(static_cast<std::int32_t>(random()));
  message.set_large(static_cast<std::int64_t>(random.bits64()));
  message.set_small_natural(random());
  message.set_large_natural(random.bits64() >> 1U);
  message.set_single(static_cast<float>(random.uniform(-1e30, 1e30)));
  message.set_real(2.5 * (1 - random.uniform()));
  message.set_text(any_text(random));
  message.set_colour(random.below(2) == 0 ? tests::red : tests::green);
  message.set_place("/" + any_text(random));
  message.mutable_inner()->set_label(any_name(random));
  message.mutable_inner()->set_count(static_cast<std::int32_t>(random.below(9)) + 1);
  for (std::uint32_t i = random.below(4); i > 0; --i) {
    tests::Inner& inner = *message.add_list();
    inner.set_label(any_name(random));
    inner.set_count(static_cast<std::int32_t>(random.below(9)) + 1);
    message.add_numbers(static_cast<std::int32_t>(random()));
    message.add_flags(random.below(2) == 0);
    message.add_reals(any_real(random));
    message.add_texts(any_text(random));
    message.add_colours(tests::green);
    tests::Named& named = *message.add_named();
    named.set_name(any_name(random));
    named.set_count(static_cast<std::int32_t>(random()));
    named.mutable_inner()->set_label(any_name(random));
    named.mutable_inner()->set_count(1);
    message.add_integers(static_cast<std::int64_t>(random.bits64()));
  }
  return message;
}

TEST(RoundTrip, RandomMessagesSurvive) {
  for (std::uint64_t item = 0; item < 500; ++item) {
    Philox random(1, 0, item);
    const EveryKind message = any_message(random);
    const std::string text = to_toml(message);
    const auto parsed = parse_toml(text);
    ASSERT_TRUE(std::holds_alternative<TomlTable>(parsed)) << std::get<TomlError>(parsed).text << "\n" << text;
    std::vector<Problem> problems;
    EveryKind again;
    MessageReader(problems).read(std::get<TomlTable>(parsed), {1, 1}, "", again);
    ASSERT_TRUE(problems.empty()) << problems.front().text << "\n" << text;
    ASSERT_TRUE(google::protobuf::util::MessageDifferencer::Equals(message, again)) << text;
  }
}

TEST(RoundTrip, AResolvedConfigurationReadsAsItself) {
  const Config config = parse_config("[run]\nfolder = \"x\"\n[[sources]]\nname = \"a\"\nkind = \"ava\"\npath = \"p\"\n",
                                     "a", "/base", {});
  const std::string text = to_toml(config);
  EXPECT_EQ(to_toml(parse_config(text, "again", "/elsewhere", {})), text);
}

TEST(RoundTrip, TextIsReadable) {
  const Config config = parse_config("[run]\nfolder = \"x\"\n[[sources]]\nname = \"a\"\nkind = \"ava\"\npath = \"p\"\n",
                                     "a", "/base", {});
  EXPECT_THAT(to_toml(config), testing::StartsWith(R"([run]
folder = "/base/x"
seed = 1
min_free = 1.0

[logging]
level = "info"
trace_steps = 0
trace_after = 10
histograms_every = 0
pictures_every = 0

[[sources]]
name = "a"
kind = "ava"
path = "/base/p"
weight = 1.0
split = "official"
validation_share = 0.0
test_share = 0.0
bins = []
score_stddev = 0.0
mapped_bins = []
mapped_ends = []
images = ""
absolute_paths = false

[sources.columns]
path = "path"
mean = ""
stddev = ""
counts = []
split = ""
delimiter = ""

[labels]
fraction = 1.0
)"));
  EXPECT_THAT(to_toml(config), testing::HasSubstr("\n[evaluate]\nresamples = 1000\n"));
}

}  // namespace
}  // namespace cskd::config
