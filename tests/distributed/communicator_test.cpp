// One contract for every communicator; started with 1, 2 and 4 ranks.
#include "distributed/communicator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/torch.h>

#include "distributed/gradient_reducer.h"

namespace cskd::distributed {
namespace {

runtime::World* world = nullptr;
Communicator* communicator = nullptr;

TEST(Communicator, KnowsItsPlace) {
  EXPECT_EQ(communicator->rank(), world->rank());
  EXPECT_EQ(communicator->size(), world->size());
}

TEST(Communicator, ReducesEveryType) {
  const int ranks = world->size();
  const double sum = ranks * (ranks + 1) / 2.0;
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong}) {
    for (const std::int64_t length : {1, 3, 1000, 100'003}) {
      const at::Tensor tensor = at::full({length}, world->rank() + 1, type);
      communicator->all_reduce(tensor, Reduction::kSum);
      EXPECT_TRUE(tensor.eq(sum).all().item<bool>()) << at::toString(type) << " " << length;
    }
  }
  const at::Tensor mean = at::full({5}, world->rank() + 1, at::kFloat);
  communicator->all_reduce(mean, Reduction::kMean);
  EXPECT_TRUE(at::allclose(mean, at::full({5}, sum / ranks)));
  const at::Tensor largest = at::full({5}, world->rank() + 1, at::kFloat);
  communicator->all_reduce(largest, Reduction::kMax);
  EXPECT_TRUE(largest.eq(ranks).all().item<bool>());
}

TEST(Communicator, BroadcastsFromAnyRank) {
  for (int root = 0; root < world->size(); ++root) {
    const at::Tensor tensor = at::full({2, 3}, world->rank(), at::kLong);
    communicator->broadcast(tensor, root);
    EXPECT_TRUE(tensor.eq(root).all().item<bool>());
  }
}

TEST(Communicator, BroadcastsChannelsLastTensors) {
  const at::Tensor expected = at::arange(2 * 3 * 4 * 5, at::kFloat).view({2, 3, 4, 5});
  const at::Tensor tensor = (expected * (world->rank() == 0 ? 1 : 0)).contiguous(at::MemoryFormat::ChannelsLast);
  communicator->broadcast(tensor, 0);
  EXPECT_TRUE(tensor.equal(expected));
}

TEST(Communicator, GathersInRankOrder) {
  const std::vector<at::Tensor> all = communicator->all_gather(at::full({2, 2}, world->rank() * 10, at::kFloat));
  ASSERT_EQ(all.size(), static_cast<size_t>(world->size()));
  for (int rank = 0; rank < world->size(); ++rank)
    EXPECT_TRUE(all[static_cast<size_t>(rank)].eq(rank * 10).all().item<bool>());
}

TEST(Communicator, FinishesManyAtOnceInOrder) {
  std::vector<at::Tensor> tensors;
  std::vector<std::unique_ptr<Work>> works;
  for (int i = 0; i < 20; ++i) {
    tensors.push_back(at::full({1000 * (i + 1)}, i, at::kFloat));
    works.push_back(communicator->start_all_reduce(tensors.back(), Reduction::kSum));
  }
  for (size_t i = works.size(); i-- > 0;) works[i]->wait();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(tensors[static_cast<size_t>(i)].eq(i * world->size()).all().item<bool>());
}

torch::nn::Sequential small_model() {
  torch::manual_seed(1);
  return torch::nn::Sequential(torch::nn::Linear(20, 64), torch::nn::Tanh(), torch::nn::Linear(64, 64),
                               torch::nn::Tanh(), torch::nn::Linear(64, 3));
}

std::vector<std::pair<std::string, at::Tensor>> parameters_of(torch::nn::Sequential& model) {
  std::vector<std::pair<std::string, at::Tensor>> named;
  for (const auto& item : model->named_parameters()) named.emplace_back(item.key(), item.value());
  return named;
}

// The gradient of the mean over 16 samples, whoever computed which of 4 micro-batches, equals one backward pass over
// all of them.
TEST(GradientReducer, EqualsOneProcessOnTheWholeBatch) {
  torch::manual_seed(2);
  const at::Tensor inputs = at::randn({16, 20});
  torch::nn::Sequential alone = small_model();
  alone->forward(inputs).square().mean().backward();

  torch::nn::Sequential model = small_model();
  GradientReducer reducer(parameters_of(model), *communicator, {.first_bytes = 256, .bytes = 5000});
  EXPECT_GT(reducer.layout().size(), 2U);
  for (int step = 0; step < 3; ++step) {  // gradients of the step before must not add up
    reducer.start_step();
    const int own = 4 / world->size();
    for (int i = 0; i < own; ++i) {
      if (i + 1 == own) reducer.expect_last_backward();
      const int micro_batch = world->rank() * own + i;
      (model->forward(inputs.narrow(0, micro_batch * 4, 4)).square().mean() / 4).backward();
    }
    EXPECT_TRUE(reducer.finish_step().unused.empty());
    double squares = 0;
    for (size_t p = 0; p < model->parameters().size(); ++p) {
      const at::Tensor expected = alone->parameters()[p].grad();
      EXPECT_TRUE(at::allclose(model->parameters()[p].grad(), expected, 1e-5, 1e-7)) << p;
      squares += expected.square().sum().item<double>();
    }
    EXPECT_NEAR(reducer.gradient_norm(), std::sqrt(squares), 1e-5);
  }
}

TEST(GradientReducer, CountsUnusedParametersAsZeroAndNamesThem) {
  torch::nn::Sequential model = small_model();
  torch::nn::Linear unused(4, 4);
  auto parameters = parameters_of(model);
  parameters.emplace_back("unused.weight", unused->weight);
  GradientReducer reducer(parameters, *communicator);
  reducer.start_step();
  reducer.expect_last_backward();
  model->forward(at::ones({2, 20})).sum().backward();
  EXPECT_EQ(reducer.finish_step().unused, std::vector<std::string>{"unused.weight"});
  EXPECT_TRUE(unused->weight.grad().eq(0).all().item<bool>());
}

TEST(GradientReducer, SendsBucketsInReverseOrderOfParameters) {
  torch::nn::Sequential model = small_model();
  GradientReducer reducer(parameters_of(model), *communicator, {.first_bytes = 1, .bytes = 1});
  std::vector<std::string> order;
  for (const auto& bucket : reducer.layout()) order.insert(order.end(), bucket.begin(), bucket.end());
  EXPECT_EQ(order, (std::vector<std::string>{"4.bias", "4.weight", "2.bias", "2.weight", "0.bias", "0.weight"}));
}

}  // namespace
}  // namespace cskd::distributed

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  cskd::runtime::World world(&argc, &argv);
  at::set_num_threads(1);
  const auto communicator = cskd::distributed::make_communicator(world, std::chrono::seconds(30));
  cskd::distributed::world = &world;
  cskd::distributed::communicator = communicator.get();
  return RUN_ALL_TESTS();
}
