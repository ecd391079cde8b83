// Facts of this host and the limits of this process, from the operating system.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "doctor/rank_facts.h"

namespace cskd::doctor {

// The rest of the first line of a file of /proc that begins with `key`, after a colon; "" when there is none.
std::string value_in(const std::filesystem::path& file, std::string_view key);

// The features of the processor that numerical code asks for, one space between two: "avx avx2 fma".
std::string processor_features();

LimitFacts limits_of_this_process();
LocaleFacts locale_of_this_process();
// Interfaces and RDMA ports under `root`; "/" but in tests.
NetworkFacts look_at_network(const std::filesystem::path& root = "/");

// In this network namespace so far.
TcpCount count_tcp(const std::filesystem::path& root = "/");

// A limit or a count of this process's control group: "memory.max" (version 2), or "memory/memory.limit_in_bytes"
// (version 1). kUnlimited without one.
std::uint64_t control_group_number(const std::string& version2, const std::string& version1);

}  // namespace cskd::doctor
