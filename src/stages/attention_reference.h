// A frozen model whose attention distances a student keeps while it is distilled.
#pragma once

#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "config/config.pb.h"
#include "models/encoder.h"
#include "run/context.h"

namespace cskd::stages {

// Note [Forms of attention]
// Where both models have attention, theirs is compared, layer by layer at equal depth: of l layers in k pairs, those
// that end the i-th k-th of the depth. Otherwise both are compared by the affinity of their tokens on the coarser of
// the two grids, which is another measure, as one layer with one head.
class AttentionReference {
 public:
  // `of`: "towers.clip", or a stage whose model is there. REQUIRES: require_attention(). Throws as the model's loading.
  AttentionReference(const run::Context& context, const std::string& of, const models::EncoderShape& student);

  // What the student's encoder has to be asked for.
  models::Request request() const;

  // Attention distances [N, layers, heads] of the student's features, as request() asked for them, with gradients.
  at::Tensor of_student(const models::Features& features) const;

  // The same of the reference, [N, layers, its heads], without gradients; it sees the student's pixels
  // [N, S, S, 3] uint8 in its own size.
  at::Tensor of_reference(const at::Tensor& pixels) const;

 private:
  models::Request request_to(const models::EncoderShape& shape) const;
  at::Tensor distances(const models::Features& features, const models::EncoderShape& shape) const;

  models::EncoderShape student_;
  std::shared_ptr<models::Encoder> reference_;
  int pairs_ = 0;  // of layers; 0: the affinity is compared
  int affinity_grid_ = 0;
};

// Throws UsageError where distill.NAME.attention_of is given and cannot be kept: beside a partner, or where one of both
// models has less than two tokens a side. REQUIRES: references were checked
void require_attention(const config::Config& config, const config::Distill& distill);

}  // namespace cskd::stages
