// schedule_rates KIND PEAK FINAL_SHARE WARMUP STEPS [FALL]...: the learning rate of each step, a line each; KIND is
// cosine, constant or falling. For schedule_test.py.
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "optim/schedule.h"

namespace {

using cskd::optim::Schedule;

Schedule::Kind kind_of(const std::string& name) {
  if (name == "cosine") return Schedule::Kind::kCosine;
  if (name == "constant") return Schedule::Kind::kConstant;
  if (name == "falling") return Schedule::Kind::kFalling;
  throw std::runtime_error("unknown kind " + name);
}

void print_rates(const std::vector<std::string>& arguments) {
  Schedule schedule{.peak = std::stod(arguments.at(1)),
                    .final_share = std::stod(arguments.at(2)),
                    .warmup = std::stoull(arguments.at(3)),
                    .steps = std::stoull(arguments.at(4)),
                    .kind = kind_of(arguments.at(0))};
  for (std::size_t i = 5; i < arguments.size(); ++i) schedule.falls.push_back(std::stoull(arguments[i]));
  for (std::uint64_t step = 0; step < schedule.steps; ++step) {
    fmt::print("{}\n", cskd::optim::learning_rate(schedule, step));
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    print_rates({argv + 1, argv + argc});
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "schedule_rates: %s\n", error.what());
    return 1;
  }
}
