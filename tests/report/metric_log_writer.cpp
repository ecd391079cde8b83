// metric_log_writer FOLDER FIRST_STEP [retry]: a MetricLog of what it reads, one line for each write, of fields that
// are separated by tabs: the step, then tags and values by turns; or "histogram", the step, a tag and values; or
// "image", the step, a tag, width, height and the path of a PNG. After each write it flushes and prints the step. With
// "retry" it never throws and flushes at the end only. Exit code 1 and a message when something fails.
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "report/histogram.h"
#include "report/metric_log.h"
#include "runtime/failure_point.h"
#include "runtime/logging.h"

namespace {

using cskd::report::MetricLog;

std::vector<std::string> split(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> fields;
  for (std::string field; std::getline(stream, field, '\t');) fields.push_back(field);
  return fields;
}

double number(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

// Returns the step.
std::string write(MetricLog& log, const std::vector<std::string>& fields) {
  if (fields.at(0) == "histogram") {
    std::vector<float> values;
    for (size_t i = 3; i < fields.size(); ++i) values.push_back(static_cast<float>(number(fields[i])));
    log.write_histogram(std::stoll(fields.at(1)), fields.at(2), cskd::report::make_histogram(values));
    return fields[1];
  }
  if (fields[0] == "image") {
    std::ifstream file(fields.at(5), std::ios::binary);
    const std::string png{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    log.write_image(std::stoll(fields[1]), fields[2], std::stoi(fields[3]), std::stoi(fields[4]), png);
    return fields[1];
  }
  std::vector<std::pair<std::string, double>> values;
  for (size_t i = 1; i + 1 < fields.size(); i += 2) values.emplace_back(fields[i], number(fields[i + 1]));
  log.write(std::stoll(fields[0]), values);
  return fields[0];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::cerr << "usage: metric_log_writer FOLDER FIRST_STEP [retry]\n";
    return 2;
  }
  const bool retries = argc == 4;
  try {
    cskd::runtime::start_logging({});
    cskd::runtime::arm_failure_from_environment();
    MetricLog log(argv[1], std::stoll(argv[2]),
                  retries ? cskd::report::OnFailure::kRetry : cskd::report::OnFailure::kThrow);
    for (std::string line; std::getline(std::cin, line);) {
      const std::string step = write(log, split(line));
      if (!retries) log.flush();
      std::cout << step << std::endl;
    }
    log.flush();
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
