// Times one encoder for encoders.py, which times the same model in PyTorch between this program's answers.
//
//   encoder_benchmark steps NAME IMAGE_SIZE BATCH THREADS
//       Answers each line of stdin with the seconds of what it names, best of three: "inference" (folded norms,
//       channels last where there are convolutions), "inference_bf16" (the same under autocast), "train" (forward and
//       backward of the sum of pooled features, float32).
//       NAME may be a plug-in (*.pt2).
//   encoder_benchmark load NAME FILE
//       Prints the seconds that making the encoder and loading the file took, and by how many bytes the process grew.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "models/compute_settings.h"
#include "models/construction.h"
#include "models/encoder.h"
#include "models/plugin/plugin.h"
#include "models/weights/encoder_weights.h"
#include "runtime/freed_memory.h"

namespace {

using cskd::models::Encoder;

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double best_of_three(const std::function<void()>& work) {
  double best = seconds_of(work);
  for (int i = 0; i < 2; ++i) best = std::min(best, seconds_of(work));
  return best;
}

void use_channels_last(Encoder& encoder) {
  for (torch::Tensor& parameter : encoder.parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.detach().contiguous(torch::MemoryFormat::ChannelsLast));
  }
}

void infer(Encoder& encoder, const torch::Tensor& images, cskd::models::Precision precision) {
  const c10::InferenceMode inference;
  const cskd::models::AutocastGuard autocast(precision, torch::kCPU);
  encoder.forward(images);
}

void answer(const std::string& given, int image_size, int batch, int threads) {
  cskd::runtime::keep_freed_memory();  // as cskd does
  torch::set_num_threads(threads);
  const std::string name = cskd::models::encoder_named(given);
  const auto trained = cskd::models::make_encoder(name, image_size);
  const auto frozen = cskd::models::make_encoder(name, image_size);
  for (Encoder* encoder : {trained.get(), frozen.get()}) use_channels_last(*encoder);
  trained->train();
  frozen->eval();
  for (const torch::Tensor& parameter : frozen->parameters()) parameter.requires_grad_(false);
  frozen->fold_for_inference();
  const int side = trained->shape().image_size;
  const torch::Tensor images = torch::randn({batch, 3, side, side}).contiguous(torch::MemoryFormat::ChannelsLast);
  for (std::string line; std::getline(std::cin, line);) {
    double seconds = 0;
    if (line == "train") {
      seconds = best_of_three([&] {
        trained->zero_grad();
        trained->forward(images).pooled.sum().backward();
      });
    } else if (line == "inference" || line == "inference_bf16") {
      const auto precision = line == "inference" ? cskd::models::Precision::kFp32 : cskd::models::Precision::kBf16;
      seconds = best_of_three([&] { infer(*frozen, images, precision); });
    } else {
      throw std::runtime_error("unknown word " + line);
    }
    fmt::print("{}\n", seconds);
    std::fflush(stdout);
  }
}

// Of this program: getrusage() counts what the process was before exec().
long peak_kilobytes() {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    if (word != "VmHWM:") continue;
    long kilobytes = 0;
    file >> kilobytes;
    return kilobytes;
  }
  throw std::runtime_error("/proc/self/status does not say VmHWM");
}

void load(const std::string& name, const std::string& path) {
  const long before = peak_kilobytes();
  const double seconds = seconds_of([&] {
    const cskd::models::ConstructionGuard unset(cskd::models::Construction::kUnset);
    const auto encoder = cskd::models::make_encoder(name);
    cskd::models::load_encoder_weights(*encoder, path);
  });
  fmt::print("{} {}\n", seconds, (peak_kilobytes() - before) * 1024);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (arguments.size() == 5 && arguments[0] == "steps") {
      answer(arguments[1], std::stoi(arguments[2]), std::stoi(arguments[3]), std::stoi(arguments[4]));
    } else if (arguments.size() == 3 && arguments[0] == "load") {
      load(arguments[1], arguments[2]);
    } else {
      throw std::runtime_error("the arguments are described at the top of encoder_benchmark.cpp");
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "encoder_benchmark: %s\n", error.what());
    return 1;
  }
}
