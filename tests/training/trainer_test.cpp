// The loop against formulas: a linear regression, whose gradients have a closed form; on 1, 2 and 4 ranks.
#include "training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include "runtime/error.h"
#include "runtime/stop_signal.h"
#include "tests/support/captured_log.h"
#include "tests/support/on_ranks.h"
#include "tests/support/temporary_folder.h"
#include "training/capsule.h"
#include "training/checkpoint.h"

namespace cskd::training {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using runtime::World;
using tests::on_ranks;

constexpr std::chrono::seconds kLimit{120};

constexpr std::uint64_t kMicroBatches = 4;
constexpr std::int64_t kImages = 3;  // of a micro-batch
constexpr std::int64_t kWeights = 5;
constexpr double kRate = 0.05, kDecay = 0.1, kClip = 2.0, kAverage = 0.75, kMomentum = 0.9;

struct Data {
  at::Tensor inputs, targets;  // [kImages, kWeights], [kImages], float64
};

// The same on every rank.
Data data_of(std::uint64_t step, std::uint64_t micro_batch) {
  const at::Tensor phase = at::arange(kImages * kWeights, at::kDouble).view({kImages, kWeights});
  const at::Tensor inputs = at::sin(phase * (1.3 + 0.7 * static_cast<double>(step)) + static_cast<double>(micro_batch));
  return {inputs, inputs.sum(1) * 2 + 1};
}

at::Tensor first_weights() { return at::linspace(-1, 1, kWeights, at::kDouble); }

// Mean squared error of inputs * weights, and a running mean of the inputs that moves by a tenth.
class Regression final : public TrainedModel, public Objective {
 public:
  explicit Regression(const World& world) : world_(world) {}

  NamedTensors trainable() override { return {{"weights", weights_}}; }
  NamedTensors state() override { return {{"weights", weights_}, {"mean", mean_}, {"count", count_}}; }
  NamedTensors average() override {
    return {{"weights", average_weights_}, {"mean", average_mean_}, {"count", average_count_}};
  }
  NamedTensors statistics() override { return {{"mean", mean_}, {"count", count_}}; }
  double rate(const std::string&) const override { return 1; }
  bool decays(const std::string&, const at::Tensor&) const override { return true; }
  std::vector<std::pair<std::string, std::string>> metadata() const override { return {}; }
  void use(const models::ComputeSettings&) override {}
  void start(std::uint64_t) override {}
  std::function<at::Tensor()> rehearsal() const override { return {}; }
  NamedTensors memory() override { return {{"taken", taken_}}; }
  void finish_step(bool is_taken) override { taken_ += is_taken ? 1 : 0; }

  MicroBatchResult micro_batch(std::uint64_t step, std::uint64_t own_index) override {
    const std::uint64_t own = kMicroBatches / static_cast<std::uint64_t>(world_.size());
    const std::uint64_t number = static_cast<std::uint64_t>(world_.rank()) * own + own_index;
    if (step == stops_at && own_index + 1 == own && world_.rank() == world_.size() - 1) std::raise(SIGTERM);
    Data data = data_of(step, number);
    if (std::ranges::count(no_numbers, std::pair(step, number)) > 0)
      data.inputs = data.inputs + std::numeric_limits<double>::quiet_NaN();
    if (std::ranges::count(outliers, std::pair(step, number)) > 0) data.targets = data.targets + 1000;
    const at::Tensor inputs = data.inputs.to(at::kFloat);
    {
      const at::NoGradGuard no_gradients;
      mean_.mul_(0.9).add_(inputs.mean(), 0.1);
      count_.add_(1);
    }
    const at::Tensor errors = inputs.mv(weights_) - data.targets.to(at::kFloat);
    MicroBatchResult result;
    result.loss = errors.square().mean();
    result.figures = {{"train/absolute", errors.detach().abs().mean()}};
    result.images = kImages;
    result.damaged = 1;
    result.samples_text = [step, number] { return fmt::format("pictures {}-{}", step, number); };
    return result;
  }

  at::Tensor pictures() const override { return {}; }
  std::vector<std::pair<std::string, double>> validate() {
    std::this_thread::sleep_for(std::exchange(first_validation, {}));
    return {{"validation/emd", weights_sum()}};
  }
  Task task() {
    return {.name = "align",
            .model = *this,
            .objective = *this,
            .validation = {.run = [this] { return validate(); }, .main_figure = "validation/emd"}};
  }

  double weights_sum() const { return weights_.sum().item<double>(); }

  std::vector<std::pair<std::uint64_t, std::uint64_t>> no_numbers;  // (step, micro-batch) without a finite loss
  std::vector<std::pair<std::uint64_t, std::uint64_t>> outliers;    // with a loss like no other
  std::chrono::milliseconds first_validation{};                     // how long it takes
  std::uint64_t stops_at = std::numeric_limits<std::uint64_t>::max();

 private:
  const World& world_;
  at::Tensor taken_ = at::zeros({}, at::kLong);
  at::Tensor weights_ = first_weights().to(at::kFloat).set_requires_grad(true);
  at::Tensor mean_ = at::zeros({}), count_ = at::zeros({}, at::kLong);
  at::Tensor average_weights_ = at::empty({kWeights}), average_mean_ = at::empty({});
  at::Tensor average_count_ = at::empty({}, at::kLong);
};

// The same in float64, from the formulas.
struct Expected {
  at::Tensor weights = first_weights(), average = first_weights(), momentum = at::zeros({kWeights}, at::kDouble);
  double mean = 0;
  std::vector<double> losses, absolutes, norms;

  void step(std::uint64_t number, bool left_out = false) {
    at::Tensor gradient = at::zeros({kWeights}, at::kDouble);
    double loss = 0, absolute = 0, change = 0;
    for (std::uint64_t i = 0; i < kMicroBatches; ++i) {
      const Data data = data_of(number, i);
      const at::Tensor errors = data.inputs.mv(weights) - data.targets;
      gradient += data.inputs.t().mv(errors) * (2.0 / kImages / kMicroBatches);
      loss += errors.square().mean().item<double>() / kMicroBatches;
      absolute += errors.abs().mean().item<double>() / kMicroBatches;
      change += 0.1 * (data.inputs.mean().item<double>() - mean) / kMicroBatches;
    }
    if (left_out) return;
    mean += change;
    losses.push_back(loss);
    absolutes.push_back(absolute);
    norms.push_back(gradient.norm().item<double>());
    if (norms.back() > kClip) gradient *= kClip / norms.back();
    momentum = kMomentum * momentum + gradient + kDecay * weights;
    weights = weights - kRate * momentum;
    // As METHOD's moving average, which follows faster at first.
    const double decay = std::min(kAverage, (1.0 + static_cast<double>(number)) / (10.0 + static_cast<double>(number)));
    average = decay * average + (1 - decay) * weights;
  }
};

class Observer final : public TrainingObserver {
 public:
  void started(std::uint64_t first_step, std::uint64_t) override { first = first_step; }
  void stepped(const StepReport& report) override { reports.push_back(report); }
  void tensors(std::uint64_t, const NamedTensors&, const NamedTensors&) override {}
  void pictures(std::uint64_t, const at::Tensor&) override {}
  void flush() override {}
  void checkpointed(std::uint64_t) override {}

  std::vector<double> all(const std::string& name) const {
    std::vector<double> values;
    for (const StepReport& report : reports) {
      for (const auto& [figure, value] : report.figures) {
        if (figure == name) values.push_back(value);
      }
    }
    return values;
  }

  std::uint64_t first = 0;
  std::vector<StepReport> reports;
};

// A training of eight steps in a folder that all ranks share.
class EightSteps {
 public:
  explicit EightSteps(World& world) : world_(world) {
    config::Training& training = options.training;
    training.set_steps(8);
    training.set_global_batch(kMicroBatches * kImages);
    training.set_micro_batches(kMicroBatches);
    training.set_optimizer(config::Training::sgd);
    training.set_schedule(config::Training::constant);
    training.set_learning_rate(kRate);
    training.set_weight_decay(kDecay);
    training.set_clip_norm(kClip);
    training.set_ema_decay(kAverage);
    training.set_momentum(kMomentum);
    training.set_keep_checkpoints(1);
    training.set_checkpoint_every(1000);
    training.set_check_every(1);
    options.folder = world.broadcast(folder_.path().native());
    options.start_timeout = options.step_timeout = std::chrono::seconds(30);
    communicator_ = distributed::make_communicator(world, std::chrono::seconds(30));
  }
  // Rank 0 removes the folder.
  ~EightSteps() { world_.barrier(); }

  TrainingOutcome train(Regression& regression) {
    return training::train(regression.task(), options, world_, *communicator_, observer);
  }

  TrainerOptions options;
  Observer observer;

 private:
  World& world_;
  tests::TemporaryFolder folder_;
  std::unique_ptr<distributed::Communicator> communicator_;
};

class TrainerTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, TrainerTest, testing::Values(1, 2, 4), testing::PrintToStringParamName());

void expect_close(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 2e-5 * (1 + std::abs(expected[i])));
}

void expect_close(const at::Tensor& found, const at::Tensor& expected) {
  EXPECT_TRUE(at::allclose(found.detach().to(at::kDouble), expected, 2e-5, 2e-5)) << found << expected;
}

void expect_state(Regression& stage, const Expected& expected) {
  expect_close(stage.state()[0].second, expected.weights);
  expect_close(stage.average()[0].second, expected.average);
  EXPECT_NEAR(stage.state()[1].second.item<double>(), expected.mean, 1e-5);
}

TEST_P(TrainerTest, FollowsTheFormulasOnAnyNumberOfRanks) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EightSteps run(world);
    Expected expected;
    for (std::uint64_t step = 0; step < 8; ++step) expected.step(step);
    Regression stage(world);
    const TrainingOutcome outcome = run.train(stage);
    EXPECT_TRUE(outcome.finished);
    EXPECT_EQ(outcome.steps, 8U);
    EXPECT_EQ(outcome.images, 8U * kMicroBatches * kImages);
    expect_state(stage, expected);
    EXPECT_EQ(stage.state()[2].second.item<std::int64_t>(), 8) << "statistics count steps";
    EXPECT_THAT(expected.norms, testing::Contains(testing::Gt(kClip)));
    EXPECT_THAT(expected.norms, testing::Contains(testing::Lt(kClip)));
    if (world.rank() != 0) {
      EXPECT_THAT(run.observer.reports, IsEmpty());
      return;
    }
    expect_close(run.observer.all("train/loss"), expected.losses);
    expect_close(run.observer.all("train/absolute"), expected.absolutes);
    expect_close(run.observer.all("train/gradient_norm"), expected.norms);
    EXPECT_THAT(run.observer.all("data/damaged"), testing::Each(world.size()));
    EXPECT_EQ(run.observer.reports.front().images, kMicroBatches * kImages);
  });
}

TEST_P(TrainerTest, AStepThatIsNotFiniteIsLeftOutEverywhereAndItsPicturesAreNamed) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EightSteps run(world);
    Expected expected;
    for (std::uint64_t step = 0; step < 8; ++step) expected.step(step, step == 2 || step == 5);
    Regression stage(world);
    stage.no_numbers = {{2, 1}, {5, 3}};
    const tests::CapturedLog log;
    EXPECT_TRUE(run.train(stage).finished);
    expect_state(stage, expected);
    EXPECT_EQ(stage.state()[2].second.item<std::int64_t>(), 6) << "statistics of the six steps that count";
    EXPECT_EQ(stage.memory()[0].second.item<std::int64_t>(), 6);
    std::vector<std::string> named;
    for (const std::string& line : log.lines()) {
      if (line.find("is not finite") != std::string::npos) named.push_back(line);
    }
    const std::uint64_t own = kMicroBatches / static_cast<std::uint64_t>(world.size());
    std::vector<std::string> expected_names;
    for (const auto& [step, number] : stage.no_numbers) {
      if (static_cast<int>(number / own) != world.rank()) continue;
      expected_names.push_back(
          fmt::format("warning align: step {}, micro-batch {} on rank {} is not finite: pictures {}-{}", step + 1,
                      number, world.rank(), step, number));
    }
    EXPECT_EQ(named, expected_names);
    if (world.rank() == 0) {
      EXPECT_EQ(run.observer.reports.back().skipped, 2U);
    }
  });
}

TEST_P(TrainerTest, ALossThatStaysInfiniteEndsTheTraining) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EightSteps run(world);
    run.options.training.set_steps(100);
    Regression stage(world);
    for (std::uint64_t step = 3; step < 100; ++step) stage.no_numbers.emplace_back(step, 0);
    const tests::CapturedLog log;
    EXPECT_THAT(
        [&] { run.train(stage); },
        testing::ThrowsMessage<runtime::Error>(HasSubstr(fmt::format(
            "align: {} steps in a row had no finite gradient; lower align.training.learning_rate", kMostSkipped + 1))));
  });
}

TEST_P(TrainerTest, AStepWithALossLikeNoOtherIsTakenAndKept) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EightSteps run(world);
    run.options.training.set_steps(70);
    Regression stage(world);
    stage.outliers = {{30, 0}, {60, 2}};  // the first one comes before it is known what is usual
    EXPECT_TRUE(run.train(stage).finished);
    EXPECT_EQ(stage.state()[2].second.item<std::int64_t>(), 70);
    world.barrier();
    const std::filesystem::path capsules = run.options.folder / "capsules";
    std::vector<std::string> kept;
    for (const auto& item : std::filesystem::directory_iterator(capsules))
      kept.push_back(item.path().filename().native());
    ASSERT_THAT(kept, ElementsAre("step-000000061"));
    const Capsule capsule = read_capsule(capsules / kept.front());
    EXPECT_THAT(capsule.reason, HasSubstr("that of the 50 steps before it was"));
    ASSERT_EQ(capsule.micro_batches.size(), kMicroBatches);
    for (const Capsule::MicroBatch& part : capsule.micro_batches)
      EXPECT_EQ(std::stod(part.loss) > 1e5, part.number == 2) << part.loss;
    EXPECT_EQ(newest_checkpoint(checkpoints_of_capsule(capsules / kept.front())), 60U) << "the moment before it";
  });
}

TEST_P(TrainerTest, ASignalToOneRankStopsAllWithinOneStepAndTheRunGoesOn) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EightSteps run(world);
    Expected expected;
    for (std::uint64_t step = 0; step < 8; ++step) expected.step(step);
    {
      const runtime::StopSignal signal;
      Regression stage(world);
      stage.stops_at = 4;
      const TrainingOutcome outcome = run.train(stage);
      EXPECT_FALSE(outcome.finished);
      EXPECT_EQ(outcome.steps, 5U) << "the step in which it came is the last";
      EXPECT_EQ(newest_checkpoint(run.options.folder / "checkpoints"), 5U);
    }
    world.barrier();
    Regression stage(world);
    const TrainingOutcome outcome = run.train(stage);
    EXPECT_TRUE(outcome.finished);
    EXPECT_EQ(outcome.images, 8U * kMicroBatches * kImages) << "of both starts";
    EXPECT_EQ(stage.memory()[0].second.item<std::int64_t>(), 8) << "of both starts";
    expect_state(stage, expected);
    if (world.rank() == 0) {
      EXPECT_EQ(run.observer.first, 5U);
    }
  });
}

// Two steps, a checkpoint (10 s and three times the longest) and a validation may lie between the sign and the end.
TEST_P(TrainerTest, ADeadlineLeavesRoomForAValidation) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EightSteps run(world);
    run.options.training.set_steps(100'000'000);
    run.options.training.set_checkpoint_every(1);
    run.options.training.set_validate_every(1);
    run.options.training.set_check_every(0);
    Regression stage(world);
    stage.first_validation = std::chrono::milliseconds(1500);
    const auto deadline = runtime::StopSignal::Clock::now() + std::chrono::milliseconds(13'500);
    const runtime::StopSignal signal(deadline);
    EXPECT_FALSE(run.train(stage).finished);
    EXPECT_GT(deadline - runtime::StopSignal::Clock::now(), std::chrono::milliseconds(10'900));
  });
}

}  // namespace
}  // namespace cskd::training
