// Sections of a report on costs, as HTML: those of a run, and those of its models where they are used.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metrics/metrics.h"
#include "run_report/run_record.h"

namespace cskd::run_report {

// Time, throughput, waiting and goodput of every stage.
std::string cost_section(const RunRecord& run);

// A model that was evaluated, and its time for one image.
struct ModelLatency {
  std::string run, model, encoder;
  int image_size = 0;
  std::int64_t parameters = 0;
  double seconds = 0;  // of one image, forward; the best of some
  metrics::Estimate srcc;
};

// Measured here, on the CPU, with random weights of the same architecture and as many threads as the process has.
// Models whose files are gone or damaged are left out, and told in the run's troubles.
std::vector<ModelLatency> measure_latencies(std::vector<RunRecord>& runs);

// Accuracy over latency; "" without models.
std::string latency_section(const std::vector<ModelLatency>& models, int threads);

}  // namespace cskd::run_report
