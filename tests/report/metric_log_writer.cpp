// metric_log_writer FOLDER FIRST_STEP: a MetricLog of what it reads, one line for each write: the step, then tags and
// values by turns, all separated by tabs. After each write it prints the step. Exit code 1 and a message when something
// fails.
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "report/metric_log.h"
#include "runtime/failure_point.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: metric_log_writer FOLDER FIRST_STEP\n";
    return 2;
  }
  try {
    cskd::runtime::arm_failure_from_environment();
    cskd::report::MetricLog log(argv[1], std::stoll(argv[2]));
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream fields(line);
      std::string step;
      std::getline(fields, step, '\t');
      std::vector<std::pair<std::string, double>> values;
      for (std::string tag, value; std::getline(fields, tag, '\t') && std::getline(fields, value, '\t');) {
        values.emplace_back(tag, std::strtod(value.c_str(), nullptr));
      }
      log.write(std::stoll(step), values);
      std::cout << step << std::endl;
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
