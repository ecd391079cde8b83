// The stage that makes files for other programs of a model that scores pictures.
#pragma once

#include <filesystem>
#include <string>

#include "run/context.h"

namespace cskd::stages {

// Writes <run>/export/<name>: model.onnx, model.safetensors (weights, and in its metadata all that scoring needs),
// model_card.md. Collective. Facts: file sizes, and on the test pictures, where there are any, the figures of the model
// and of the exported network as it rounds, and the greatest difference of two scores.
run::StageOutcome run_export(const run::Context& context, const std::string& name);

// The facts in a few lines.
std::string export_text(const run::RunFolder& folder, const run::Completion& completion);

}  // namespace cskd::stages
