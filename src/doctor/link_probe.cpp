#include "doctor/link_probe.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <sstream>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <mpi.h>

#include "doctor/host_probe.h"
#include "doctor/tournament.h"
#include "runtime/error.h"
#include "runtime/philox.h"

namespace cskd::doctor {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kSilence{20};     // until a host counts as unreachable
constexpr std::chrono::seconds kLongestLink{3};  // spent on one
constexpr int kPings = 20;
constexpr int kTransfers = 3;
constexpr int kClockQuestions = 10;
constexpr std::uint64_t kSmallest = 64ULL << 10;
constexpr std::uint64_t kLargest = 8ULL << 20;
constexpr double kSecondsOfTransfer = 0.02;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::int64_t wall_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// Messages to another host's first rank. On a communicator of its own, so that nothing else arrives.
class Channel {
 public:
  explicit Channel(std::string own_host) : own_(std::move(own_host)) { MPI_Comm_dup(MPI_COMM_WORLD, &communicator_); }
  ~Channel() { MPI_Comm_free(&communicator_); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  void send(const Host& to, std::span<const std::byte> bytes) const {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, to.rank, 0, communicator_, &request);
    wait(request, to);
  }
  void receive(const Host& from, std::span<std::byte> bytes) const {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Irecv(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, from.rank, 0, communicator_, &request);
    wait(request, from);
  }
  template <typename Number>
  void send_number(const Host& to, Number number) const {
    send(to, std::as_bytes(std::span(&number, 1)));
  }
  template <typename Number>
  Number receive_number(const Host& from) const {
    Number number{};
    receive(from, std::as_writable_bytes(std::span(&number, 1)));
    return number;
  }

 private:
  void wait(MPI_Request& request, const Host& other) const {
    const Clock::time_point end = Clock::now() + kSilence;
    int done = 0;
    for (MPI_Test(&request, &done, MPI_STATUS_IGNORE); done == 0; MPI_Test(&request, &done, MPI_STATUS_IGNORE)) {
      if (Clock::now() > end) {
        throw runtime::Error(fmt::format(
            "{} has had no answer from {} (rank {}) for {} s: look at {} and at the network between them, or "
            "leave that host out",
            own_, other.name, other.rank, kSilence.count(), other.name));
      }
      std::this_thread::yield();
    }
  }

  std::string own_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Asks and measures.
LinkFacts lead(const Channel& channel, const Host& other, std::vector<std::byte>& pattern) {
  const Clock::time_point begun = Clock::now();
  LinkFacts facts;
  channel.send_number<std::uint64_t>(other, 0);
  channel.receive_number<std::uint64_t>(other);
  std::vector<double> trips;
  for (int i = 0; i < kPings; ++i) {
    const Clock::time_point start = Clock::now();
    channel.send_number<std::uint64_t>(other, 0);
    channel.receive_number<std::uint64_t>(other);
    trips.push_back(seconds_since(start));
  }
  facts.latency_microseconds = median(trips) / 2 * 1e6;

  std::vector<double> rates;  // bytes a second
  std::vector<std::byte> echo(kLargest);
  std::uint64_t size = kSmallest;
  for (int i = 0; i <= kTransfers && (i == 0 || Clock::now() - begun < kLongestLink); ++i) {
    const std::span<std::byte> sent = std::span(pattern).first(size);
    const Clock::time_point start = Clock::now();
    channel.send_number(other, size);
    channel.send(other, sent);
    channel.receive(other, std::span(echo).first(size));
    const double rate = 2.0 * static_cast<double>(size) / seconds_since(start);
    facts.is_damaged = facts.is_damaged || !std::equal(sent.begin(), sent.end(), echo.begin());
    // The first one tells how large the others may be.
    if (i > 0 || rate < static_cast<double>(kSmallest)) rates.push_back(rate);
    if (i == 0) size = static_cast<std::uint64_t>(std::clamp(rate * kSecondsOfTransfer, 0x1p16, 0x1p23));
  }
  channel.send_number<std::uint64_t>(other, 0);
  facts.mb_per_second = rates.empty() ? 0 : median(rates) * 1e-6;
  return facts;
}

// Answers.
void follow(const Channel& channel, const Host& other, std::vector<std::byte>& buffer) {
  for (int i = 0; i <= kPings; ++i) {
    channel.receive_number<std::uint64_t>(other);
    channel.send_number<std::uint64_t>(other, 0);
  }
  while (const auto size = channel.receive_number<std::uint64_t>(other)) {
    const std::span<std::byte> part = std::span(buffer).first(std::min(size, kLargest));
    channel.receive(other, part);
    channel.send(other, part);
  }
}

// The shorter an answer's way, the less its clock can be off: it was read somewhere between question and answer.
ClockFacts ask_clock(const Channel& channel, const Host& other) {
  ClockFacts best{.ahead_seconds = 0, .error_seconds = 1e9};
  for (int i = 0; i < kClockQuestions; ++i) {
    const std::int64_t asked = wall_nanoseconds();
    channel.send_number(other, asked);
    const auto there = channel.receive_number<std::int64_t>(other);
    const std::int64_t answered = wall_nanoseconds();
    const double half = static_cast<double>(answered - asked) / 2 * 1e-9;
    if (half < 0 || half >= best.error_seconds) continue;
    best = {.ahead_seconds = static_cast<double>(there - asked) * 1e-9 - half, .error_seconds = half};
  }
  return best;
}

}  // namespace

std::vector<Host> hosts_of(runtime::World& world) {
  std::vector<Host> hosts(static_cast<std::size_t>(world.nodes()));
  const std::string own = world.local_rank() == 0 ? fmt::format("{} {}", world.node(), world.host()) : "";
  const std::vector<std::string> all = world.all_gather(own);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].empty()) continue;
    std::istringstream words(all[rank]);
    std::size_t node = 0;
    words >> node;
    words >> hosts.at(node).name;
    hosts[node].rank = static_cast<int>(rank);
  }
  return hosts;
}

LinkProbe probe_links(runtime::World& world, const std::vector<Host>& hosts, int own, int most_rounds) {
  LinkProbe probe;
  const Channel channel(world.host());
  if (own >= 0 && hosts.size() > 1) {
    const TcpCount before = count_tcp();
    if (own == 0) {
      for (std::size_t i = 1; i < hosts.size(); ++i) {
        const ClockFacts clock = ask_clock(channel, hosts[i]);
        channel.send_number(hosts[i], clock);
      }
    } else {
      for (int i = 0; i < kClockQuestions; ++i) {
        channel.receive_number<std::int64_t>(hosts[0]);
        channel.send_number(hosts[0], wall_nanoseconds());
      }
      probe.clock = channel.receive_number<ClockFacts>(hosts[0]);
    }
    std::vector<std::byte> buffer(kLargest);
    runtime::Philox random(1, 0, static_cast<std::uint64_t>(own));
    for (std::byte& byte : buffer) byte = static_cast<std::byte>(random.bits64());
    for (const Round& round : tournament(static_cast<int>(hosts.size()), most_rounds)) {
      const int other = round[static_cast<std::size_t>(own)];
      if (other < 0) continue;
      const Host& partner = hosts[static_cast<std::size_t>(other)];
      if (own > other) {
        std::vector<std::byte> room(kLargest);
        follow(channel, partner, room);
        continue;
      }
      LinkFacts link = lead(channel, partner, buffer);
      link.from = own;
      link.to = other;
      probe.links.push_back(link);
    }
    const TcpCount after = count_tcp();
    probe.segments = {.sent = after.sent - before.sent, .sent_again = after.sent_again - before.sent_again};
  }
  world.barrier();
  return probe;
}

}  // namespace cskd::doctor
