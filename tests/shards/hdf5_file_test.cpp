#include "shards/hdf5_file.h"

#include <cstdlib>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace cskd::shards {
namespace {

class Hdf5Locks : public testing::Test {
 protected:
  void SetUp() override {
    testing::FLAGS_gtest_death_test_style = "threadsafe";  // HDF5 reads its environment once a process
    Hdf5Writer writer(path_);
    const std::uint32_t number = 7;
    writer.write("/a", ElementType::kU32, {1}, std::as_bytes(std::span(&number, 1)));
    writer.close();
  }

  // A lock that HDF5's own would run into.
  bool lock() {
    descriptor_ = ::open(path_.c_str(), O_RDWR);
    return ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
  }
  ~Hdf5Locks() override {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[noreturn]] void read_and_exit() const {
    try {
      const Hdf5Layout layout(path_);
      std::_Exit(layout.has("a") ? 0 : 1);
    } catch (const runtime::DataError&) {
      std::_Exit(3);
    }
  }

  tests::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "file.h5";
  int descriptor_ = -1;
};

TEST_F(Hdf5Locks, AreNotTakenByReaders) {
  ASSERT_TRUE(lock());
  EXPECT_EXIT(read_and_exit(), testing::ExitedWithCode(0), "");
}

TEST_F(Hdf5Locks, AreNotTakenByTheWriter) {
  Hdf5Writer writer(path_);
  EXPECT_TRUE(lock());
}

// Before the first use of HDF5 in the process that reads.
class Hdf5LocksAskedFor : public Hdf5Locks {
 protected:
  Hdf5LocksAskedFor() { ::setenv("HDF5_USE_FILE_LOCKING", "TRUE", 1); }
  ~Hdf5LocksAskedFor() override { ::unsetenv("HDF5_USE_FILE_LOCKING"); }
};

TEST_F(Hdf5LocksAskedFor, AreTaken) {
  ASSERT_TRUE(lock());
  EXPECT_EXIT(read_and_exit(), testing::ExitedWithCode(3), "");
}

}  // namespace
}  // namespace cskd::shards
