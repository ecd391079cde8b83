#include "bench/checkpoint_bench.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "bench/stopwatch.h"
#include "models/encoder.h"
#include "runtime/error.h"
#include "runtime/free_space.h"
#include "training/checkpoint_writer.h"

namespace cskd::bench {
namespace {

double percentile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  const auto rank = static_cast<std::size_t>(std::ceil(share / 100 * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

training::CheckpointContents make_contents(const std::string& name) {
  const auto encoder = models::make_encoder(name);
  training::CheckpointContents contents;
  for (const auto& item : encoder->named_parameters()) {
    const at::Tensor weight = item.value().detach();
    contents.model.emplace_back(item.key(), weight);
    contents.average.emplace_back(item.key(), weight.clone());
    contents.optimizer.emplace_back("exp_avg." + item.key(), weight.clone());
    contents.optimizer.emplace_back("exp_avg_sq." + item.key(), weight.clone());
  }
  return contents;
}

template <typename Do>
void for_each_tensor(const training::CheckpointContents& contents, const Do& act) {
  for (const training::NamedTensors* tensors : {&contents.model, &contents.average, &contents.optimizer}) {
    for (const auto& [name, tensor] : *tensors) act(tensor);
  }
}

double write_plainly(const training::CheckpointContents& contents, const std::filesystem::path& path) {
  const auto start = Clock::now();
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) runtime::throw_system_error(fmt::format("cannot create {}", path.native()), errno);
  for_each_tensor(contents, [&](const at::Tensor& tensor) {
    const auto* bytes = static_cast<const char*>(tensor.const_data_ptr());
    for (std::size_t done = 0; done < tensor.nbytes();) {
      const ssize_t count = ::write(file, bytes + done, tensor.nbytes() - done);
      if (count < 0) runtime::throw_system_error(fmt::format("cannot write {}", path.native()), errno);
      done += static_cast<std::size_t>(count);
    }
  });
  if (::fsync(file) != 0) runtime::throw_system_error(fmt::format("cannot fsync {}", path.native()), errno);
  ::close(file);
  return seconds_since(start);
}

// Keeps the processor as busy as a training step does.
void compute(double seconds) {
  const at::Tensor square = at::rand({512, 512});
  at::Tensor product = square;
  for (const auto start = Clock::now(); seconds_since(start) < seconds;) product = at::mm(square, product).mul_(1e-3);
}

}  // namespace

double CheckpointFigures::stall(double share) const { return percentile(stalls, share); }

double CheckpointFigures::throughput() const { return percentile(plain, 50) / percentile(written, 50); }

CheckpointFigures run_checkpoint_bench(const CheckpointOptions& options) {
  const c10::AutoGradMode no_gradients(false);
  training::CheckpointContents contents = make_contents(options.encoder);
  CheckpointFigures figures;
  for_each_tensor(contents, [&](const at::Tensor& tensor) { figures.bytes += tensor.nbytes(); });
  std::filesystem::create_directories(options.folder);
  runtime::require_free_space(options.folder, 4 * figures.bytes, "two checkpoints and two plain files");
  const std::filesystem::path checkpoints = options.folder / "checkpoints";
  std::atomic<bool> is_written{false};
  {
    training::CheckpointWriter writer(
        {.folder = checkpoints, .retention = {.newest = 1}, .written = [&](std::uint64_t) { is_written = true; }});
    std::uint64_t step = 0;
    std::filesystem::path plain_before;
    const auto begin = [&] {
      contents.state.set_step(++step);
      is_written = false;
      writer.start(contents);
    };
    // The first one makes room for its copy.
    begin();
    writer.finish();
    for (int round = 0; round < options.rounds; ++round) {
      // As a checkpoint, beside the one before.
      const std::filesystem::path plain = options.folder / fmt::format("plain-{}", round);
      figures.plain.push_back(write_plainly(contents, plain));
      std::filesystem::remove(std::exchange(plain_before, plain));
      auto start = Clock::now();
      begin();
      writer.wait_until_copied();
      figures.copied.push_back(seconds_since(start));
      start = Clock::now();
      writer.finish();
      figures.written.push_back(seconds_since(start));

      start = Clock::now();
      begin();
      double stall = seconds_since(start);
      while (!is_written) {
        compute(options.step_seconds);
        const auto wait = Clock::now();
        writer.wait_until_copied();
        stall += seconds_since(wait);
      }
      figures.stalls.push_back(stall);
      writer.finish();
      figures.busy.push_back(seconds_since(start));
    }
  }
  std::filesystem::remove_all(checkpoints);
  std::filesystem::remove(options.folder / fmt::format("plain-{}", options.rounds - 1));
  return figures;
}

std::string to_text(const CheckpointOptions& options, const CheckpointFigures& figures) {
  const auto gigabytes = static_cast<double>(figures.bytes) / 1e9;
  const double written = percentile(figures.written, 50);
  return fmt::format(
      "{}: weights, average and AdamW's state, {}, {} rounds\n\n"
      "  plain write and fsync       {:.2f} s   {:.2f} GB/s\n"
      "  checkpoint's files          {:.2f} s   {:.2f} GB/s   {:.2f} of a plain write\n"
      "  the copy before             {:.2f} s\n"
      "  while training goes on      {:.2f} s\n"
      "  training waits              {:.3f} s (p50)   {:.3f} s (p99)   {:.2f} % (p99) of a minute\n",
      options.encoder, runtime::format_bytes(figures.bytes), figures.plain.size(), percentile(figures.plain, 50),
      gigabytes / percentile(figures.plain, 50), written, gigabytes / written, figures.throughput(),
      percentile(figures.copied, 50), percentile(figures.busy, 50), figures.stall(50), figures.stall(99),
      figures.stall(99) / 60 * 100);
}

std::string to_json(const CheckpointOptions& options, const CheckpointFigures& figures) {
  return nlohmann::ordered_json{{"encoder", options.encoder},         {"bytes", figures.bytes},
                                {"plain_seconds", figures.plain},     {"copied_seconds", figures.copied},
                                {"written_seconds", figures.written}, {"stall_seconds", figures.stalls},
                                {"busy_seconds", figures.busy},       {"stall_p50", figures.stall(50)},
                                {"stall_p99", figures.stall(99)},     {"throughput", figures.throughput()}}
      .dump(2);
}

}  // namespace cskd::bench
