// Which part of the network is named, on made-up connections.
#include "distributed/link_quality.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "runtime/tcp.h"

namespace cskd::distributed {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::map<std::string, std::string> kAddresses{
    {"10.0.0.1", "n1"}, {"10.0.0.2", "n2"}, {"192.168.0.2", "n2"}, {"10.0.0.3", "n3"}};

TEST(LinkQuality, NamesASlowLinkBetweenTwoHosts) {
  LinkJudge judge({"n1", "n2"}, kAddresses);
  judge.add(0, "10.0.0.2 0.3 100 0\n");
  EXPECT_THAT(judge.bad(), IsEmpty());
  judge.add(0, "10.0.0.2 51.7 200 0\n192.168.0.2 52.5 10 0\n");
  judge.add(1, "10.0.0.1 55 300 0\n");
  EXPECT_THAT(judge.bad(), ElementsAre("the network between n1 and n2 is slow: 51.7 ms there and back"));
  judge.add(0, "10.0.0.2 0.3 300 0\n");
  EXPECT_THAT(judge.bad(), IsEmpty());
}

TEST(LinkQuality, MeasuresALinkAgainstTheOthers) {
  LinkJudge judge({"n1", "n2", "n3"}, kAddresses);
  judge.add(0, "10.0.0.2 31 100 0\n10.0.0.3 30 100 0\n");
  judge.add(1, "10.0.0.3 30 100 0\n");
  EXPECT_THAT(judge.bad(), IsEmpty());  // a slow network, but equally
  judge.add(0, "10.0.0.2 0.2 100 0\n10.0.0.3 30 100 0\n");
  judge.add(1, "10.0.0.3 0.4 100 0\n");
  EXPECT_THAT(judge.bad(),
              ElementsAre("the network between n1 and n3 is slow: 30 ms there and back (other hosts 0.4 ms)"));
}

TEST(LinkQuality, NamesALinkThatLosesPacketsAndForgetsOldLosses) {
  LinkJudge judge({"n1", "n2"}, kAddresses);
  judge.add(0, "10.0.0.2 0.3 1000 400\n");  // before the first look
  EXPECT_THAT(judge.bad(), IsEmpty());
  judge.add(0, "10.0.0.2 0.3 3000 460\n");
  EXPECT_THAT(judge.bad(), ElementsAre("the network between n1 and n2 loses packets: 3 % of what is sent goes twice"));
  for (std::uint64_t i = 1; i <= 13; ++i) judge.add(0, fmt::format("10.0.0.2 0.3 {} 460\n", 3000 + 1000 * i));
  EXPECT_THAT(judge.bad(), IsEmpty());
}

TEST(LinkQuality, PassesOverConnectionsToOthers) {
  LinkJudge judge({"n1", "n2"}, kAddresses);
  judge.add(0, "203.0.113.7 900 100 50\n10.0.0.1 900 100 50\n");
  EXPECT_THAT(judge.bad(), IsEmpty());
  EXPECT_THROW(judge.add(0, "10.0.0.2 fast"), runtime::Error);
}

TEST(LinkQuality, AddsUpTheConnectionsToAHost) {
  EXPECT_EQ(to_text({{"10.0.0.2", 0.5, 10, 1}, {"10.0.0.3", 2, 7, 0}, {"10.0.0.2", 0.25, 20, 2}}),
            "10.0.0.2 0.250 30 3\n10.0.0.3 2.000 7 0\n");
}

TEST(LinkQuality, LeavesOutConnectionsWithinTheHost) {
  std::uint16_t port = 0;
  std::string problem;
  const runtime::TcpSocket listening = runtime::listen_anywhere(port);
  const runtime::TcpSocket loop = runtime::connect_to("127.0.0.1", port, std::chrono::seconds(1), problem);
  ASSERT_EQ(problem, "");
  EXPECT_THAT(connections_of_this_process(), IsEmpty());
}

}  // namespace
}  // namespace cskd::distributed
