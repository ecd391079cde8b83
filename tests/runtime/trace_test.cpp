#include "runtime/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace cskd::runtime {
namespace {

using std::chrono::microseconds;
using testing::ElementsAre;
using Json = nlohmann::json;

// The events of a kind ("X", "M", "b", "e").
std::vector<Json> events_of(const Json& file, const std::string& kind) {
  std::vector<Json> found;
  for (const Json& event : file["traceEvents"]) {
    if (event["ph"] == kind) found.push_back(event);
  }
  return found;
}

TEST(Trace, IsAFileOfAllRanks) {
  const Trace::Time origin = std::chrono::steady_clock::now();
  Trace first;
  Trace second;
  for (Trace* const trace : {&first, &second}) {
    trace->add("computing", "before it began", origin, origin + microseconds(1));
    trace->start(origin);
    trace->add("computing", "forward", origin + microseconds(100), origin + microseconds(250));
    trace->add("computing", "step 1", origin + microseconds(100), origin + microseconds(400));
    trace->add("loader", "batch 7", origin + microseconds(120), origin + microseconds(300), {{"bytes", "9"}},
               Trace::Track::kOverlapping);
    trace->add("computing", "long ago", origin - microseconds(9), origin - microseconds(5));
    trace->add("computing", "under way", origin - microseconds(50), origin + microseconds(60));
    trace->stop();
    trace->add("computing", "after it ended", origin + microseconds(500), origin + microseconds(600));
  }
  const std::string text = trace_file({first.take_events(0, "rank 0"), "", second.take_events(2, "rank \xff")});
  const Json file = Json::parse(text);

  std::vector<std::string> order;
  for (const Json& event : events_of(file, "X")) {
    if (event["pid"] != 0) continue;
    order.push_back(event["name"]);
    EXPECT_EQ(event["cat"], "computing");
  }
  // By their begin, and the one that holds the other first.
  EXPECT_THAT(order, ElementsAre("under way", "step 1", "forward"));
  const Json forward = events_of(file, "X")[2];
  EXPECT_DOUBLE_EQ(forward["ts"], 100);
  EXPECT_DOUBLE_EQ(forward["dur"], 150);
  // What began before is cut.
  EXPECT_DOUBLE_EQ(events_of(file, "X")[0]["ts"], 0);

  const std::vector<Json> begun = events_of(file, "b");
  const std::vector<Json> ended = events_of(file, "e");
  ASSERT_EQ(begun.size(), 2U);
  ASSERT_EQ(ended.size(), 2U);
  EXPECT_EQ(begun[0]["id"], ended[0]["id"]);
  EXPECT_NE(begun[0]["id"], begun[1]["id"]);  // of another rank
  EXPECT_EQ(begun[0]["args"]["bytes"], "9");
  EXPECT_DOUBLE_EQ(ended[0]["ts"], 300);

  std::vector<std::string> names;
  for (const Json& event : events_of(file, "M")) {
    if (event["name"] == "process_name" || event["name"] == "thread_name") names.push_back(event["args"]["name"]);
  }
  EXPECT_THAT(names, ElementsAre("rank 0", "computing", "loader", "rank \uFFFD", "computing", "loader"));
}

TEST(Trace, ForgetsWhatWasTaken) {
  Trace trace;
  const Trace::Time origin = std::chrono::steady_clock::now();
  trace.start(origin);
  trace.add("a", "b", origin, origin + microseconds(1));
  trace.take_events(0, "rank 0");
  EXPECT_TRUE(events_of(Json::parse(trace_file({trace.take_events(0, "rank 0")})), "X").empty());
  EXPECT_TRUE(Json::parse(trace_file({}))["traceEvents"].empty());
}

}  // namespace
}  // namespace cskd::runtime
