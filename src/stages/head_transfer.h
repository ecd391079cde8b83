// A teacher's score head for a student, through the projector of Stage I.
#pragma once

#include <string>

#include <ATen/core/Tensor.h>

#include "config/config.pb.h"
#include "models/headed_encoder.h"
#include "run/context.h"

namespace cskd::stages {

// Throws UsageError where a teacher is named twice, or distill.<name>.head asks for a head that cannot be had: the
// first teacher has to read the whitened features of a tower that the student is aligned to.
void require_distill(const config::Config& config, const std::string& name);

// A linear map [D, d] and [D] from a student's features to the whitened features of a tower; float64, on the CPU.
struct Projector {
  at::Tensor weight, bias;
};

// Of Stage I, to the tower that the first teacher reads. REQUIRES: require_distill(), head = "teacher". Throws as
// inference::read_stage_model().
Projector projector_of(const run::Context& context, const config::Distill& distill);

// Gives the student the head W x + b of its teacher, for projected features x = P f + p of the student's features f:
// W P f + (W p + b). A student whose projected features are the tower's whitened ones then scores as its teacher.
// SimKD (Chen et al., arXiv 2203.14001), with a linear projector.
void take_over_head(models::HeadedEncoder& student, models::HeadedEncoder& teacher, const Projector& projector);

}  // namespace cskd::stages
