// What is read from the operating system, held against files of known content; and the tournament.
#include <fstream>
#include <set>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/file_system.h"
#include "doctor/host_probe.h"
#include "doctor/tournament.h"
#include "tests/support/temporary_folder.h"

namespace cskd::doctor {
namespace {

using testing::ElementsAre;

constexpr const char* kMounts =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro\n"
    "30 22 0:25 / /home rw,nosuid shared:2 - nfs4 server:/home rw,vers=4.2,local_lock=none\n"
    "31 22 0:26 / /scratch\\040two rw - lustre mds@tcp:/s rw,flock\n"
    "32 30 0:27 / /home/me/shared rw - fuse.sshfs other: rw\n"
    "33 22 0:28 / /home rw - tmpfs none rw\n"
    "a line that is cut off\n";

TEST(FileSystem, IsThatOfTheDeepestMount) {
  EXPECT_EQ(mount_of("/var/lib", kMounts).type, "ext4");
  EXPECT_EQ(mount_of("/homes/x", kMounts).type, "ext4");
  EXPECT_EQ(mount_of("/scratch two/runs", kMounts).type, "lustre");
  EXPECT_EQ(mount_of("/scratch two/runs", kMounts).options, "rw,rw,flock");
  EXPECT_EQ(mount_of("/home/me/shared/x", kMounts).type, "fuse.sshfs");
  EXPECT_EQ(mount_of("/home/me", kMounts).type, "tmpfs");  // mounted over the other one
  EXPECT_EQ(mount_of("/x", "").type, "");
}

TEST(FileSystem, OfThisMachineIsKnown) {
  EXPECT_EQ(mount_of("/proc").type, "proc");
  EXPECT_NE(mount_of("/").type, "");
}

TEST(FileSystem, NetworksAreTold) {
  for (const char* type : {"nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "fuse.sshfs", "fuse.glusterfs"})
    EXPECT_TRUE(is_network_file_system(type)) << type;
  for (const char* type : {"ext4", "xfs", "tmpfs", "overlay", "fuse.ntfs", ""})
    EXPECT_FALSE(is_network_file_system(type)) << type;
}

class FakeSystem : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text;
  }
  tests::TemporaryFolder folder_;
};

TEST_F(FakeSystem, InterfacesAndPortsAreFound) {
  write("sys/class/net/lo/operstate", "unknown\n");
  write("sys/class/net/eth0/operstate", "up\n");
  write("sys/class/net/eth1/operstate", "down\n");
  write("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n");
  write("sys/class/infiniband/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)\n");
  write("sys/class/infiniband/mlx5_0/ports/1/link_layer", "InfiniBand\n");
  write("sys/class/infiniband/mlx5_1/ports/1/state", "1: DOWN\n");
  const NetworkFacts facts = look_at_network(folder_.path());
  EXPECT_THAT(facts.interfaces, ElementsAre("eth0"));
  ASSERT_EQ(facts.fabric.size(), 2U);
  EXPECT_EQ(facts.fabric[0].name, "mlx5_0/1");
  EXPECT_EQ(facts.fabric[0].state, "ACTIVE");
  EXPECT_EQ(facts.fabric[0].rate, "400 Gb/sec (4X NDR)");
  EXPECT_EQ(facts.fabric[0].layer, "InfiniBand");
  EXPECT_EQ(facts.fabric[1].state, "DOWN");
}

TEST_F(FakeSystem, NothingIsNoError) {
  EXPECT_TRUE(look_at_network(folder_.path()).interfaces.empty());
  EXPECT_EQ(count_tcp(folder_.path()).sent, 0U);
}

TEST_F(FakeSystem, TcpSegmentsAreCounted) {
  write("proc/net/snmp",
        "Ip: Forwarding DefaultTTL\nIp: 1 64\n"
        "Tcp: RtoAlgorithm RtoMin MaxConn InSegs OutSegs RetransSegs InErrs\nTcp: 1 200 -1 5 1234 56 0\n"
        "Udp: InDatagrams\nUdp: 9\n");
  EXPECT_EQ(count_tcp(folder_.path()).sent, 1234U);
  EXPECT_EQ(count_tcp(folder_.path()).sent_again, 56U);
}

TEST(Locale, TheEnvironmentsDecimalPointIsFound) {
  ::setenv("LC_ALL", "C.UTF-8", 1);
  EXPECT_EQ(locale_of_this_process().asked_point, ".");
  EXPECT_EQ(locale_of_this_process().name, "C.UTF-8");
  ::setenv("LC_ALL", "xx_XX.nonsense", 1);
  EXPECT_EQ(locale_of_this_process().asked_point, ".");  // not installed: the library stays with C
  ::unsetenv("LC_ALL");
}

TEST(Tournament, EveryPairMeetsOnce) {
  for (int players = 0; players <= 40; ++players) {
    std::set<std::pair<int, int>> met;
    const auto rounds = tournament(players, 1000);
    for (const Round& round : rounds) {
      int idle = 0;
      for (int player = 0; player < players; ++player) {
        const int other = round[static_cast<std::size_t>(player)];
        idle += other < 0 ? 1 : 0;
        if (other < 0) continue;
        ASSERT_NE(other, player);
        ASSERT_EQ(round[static_cast<std::size_t>(other)], player);
        const bool is_new = player > other || met.emplace(player, other).second;
        ASSERT_TRUE(is_new) << player << " and " << other;
      }
      EXPECT_EQ(idle, players % 2);
    }
    EXPECT_EQ(met.size(), static_cast<std::size_t>(players) * static_cast<std::size_t>(std::max(0, players - 1)) / 2);
  }
}

TEST(Tournament, IsBoundedForManyPlayers) {
  for (const int players : {17, 18, 100, 1001}) {
    const auto rounds = tournament(players, 16);
    EXPECT_EQ(rounds.size(), 16U);
    std::vector<std::set<int>> partners(static_cast<std::size_t>(players));
    for (const Round& round : rounds) {
      for (int player = 0; player < players; ++player) {
        const int other = round[static_cast<std::size_t>(player)];
        const bool is_new = other < 0 || partners[static_cast<std::size_t>(player)].insert(other).second;
        EXPECT_TRUE(is_new);
      }
    }
    for (const auto& of_player : partners) EXPECT_GE(of_player.size(), 15U);
  }
}

}  // namespace
}  // namespace cskd::doctor
