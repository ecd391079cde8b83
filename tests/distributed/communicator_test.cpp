// One contract for every communicator, on 1, 2 and 4 ranks over MPI. Without a GPU that of NCCL is skipped.
#include "distributed/communicator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "distributed/devices/accelerators.h"
#include "distributed/gradient_reducer.h"
#include "distributed/same_everywhere.h"
#include "runtime/error.h"
#include "tests/support/on_ranks.h"

namespace cskd::distributed {
namespace {

using runtime::World;

constexpr std::chrono::seconds kLimit{60};

struct Backend {
  const char* name;
  int ranks;
};

std::string name_of(const testing::TestParamInfo<Backend>& instance) {
  return instance.param.name + std::string("_") + std::to_string(instance.param.ranks);
}

const auto kBackends =
    testing::Values(Backend{"local", 1}, Backend{"mpi", 1}, Backend{"mpi", 2}, Backend{"mpi", 4}, Backend{"nccl", 1});

class CommunicatorTest : public testing::TestWithParam<Backend> {};
INSTANTIATE_TEST_SUITE_P(Backends, CommunicatorTest, kBackends, name_of);

class GradientReducerTest : public testing::TestWithParam<Backend> {};
INSTANTIATE_TEST_SUITE_P(Backends, GradientReducerTest, kBackends, name_of);

class SameEverywhereTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, SameEverywhereTest, testing::Values(1, 2, 4), testing::PrintToStringParamName());

// Runs `function(world, communicator)`, which captures nothing, on the ranks of the backend.
template <typename Function>
void on_backend(const Backend& backend, Function /*function*/) {
  if (backend.name == std::string("nccl") && find_accelerators().gpus.empty()) GTEST_SKIP() << "no GPU";
  tests::on_ranks(
      backend.ranks, kLimit,
      [](World& world, const std::string& name) {
        at::set_num_threads(1);
        const std::unique_ptr<Communicator> communicator = name == "local" ? make_local_communicator(at::kCPU)
                                                           : name == "mpi"
                                                               ? make_mpi_communicator(world, std::chrono::seconds(30))
                                                               : make_communicator(world, std::chrono::seconds(30));
        Function{}(world, *communicator);
      },
      backend.name);
}

at::Tensor here(const Communicator& communicator, const at::Tensor& tensor) { return tensor.to(communicator.device()); }

TEST_P(CommunicatorTest, KnowsItsPlace) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    EXPECT_EQ(communicator.rank(), world.rank());
    EXPECT_EQ(communicator.size(), world.size());
  });
}

TEST_P(CommunicatorTest, ReducesEveryType) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    const int ranks = world.size();
    const double sum = ranks * (ranks + 1) / 2.0;
    for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong}) {
      for (const std::int64_t length : {1, 3, 1000, 100'003}) {
        const at::Tensor tensor = here(communicator, at::full({length}, world.rank() + 1, type));
        communicator.all_reduce(tensor, Reduction::kSum);
        EXPECT_TRUE(tensor.eq(sum).all().item<bool>()) << at::toString(type) << " " << length;
      }
    }
    const at::Tensor mean = here(communicator, at::full({5}, world.rank() + 1, at::kFloat));
    communicator.all_reduce(mean, Reduction::kMean);
    EXPECT_TRUE(at::allclose(mean, here(communicator, at::full({5}, sum / ranks))));
    const at::Tensor largest = here(communicator, at::full({5}, world.rank() + 1, at::kFloat));
    communicator.all_reduce(largest, Reduction::kMax);
    EXPECT_TRUE(largest.eq(ranks).all().item<bool>());
  });
}

TEST_P(CommunicatorTest, BroadcastsFromAnyRank) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    for (int root = 0; root < world.size(); ++root) {
      const at::Tensor tensor = here(communicator, at::full({2, 3}, world.rank(), at::kLong));
      communicator.broadcast(tensor, root);
      EXPECT_TRUE(tensor.eq(root).all().item<bool>());
    }
  });
}

TEST_P(CommunicatorTest, BroadcastsChannelsLastTensors) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    const at::Tensor expected = here(communicator, at::arange(2 * 3 * 4 * 5, at::kFloat).view({2, 3, 4, 5}));
    const at::Tensor tensor = (expected * (world.rank() == 0 ? 1 : 0)).contiguous(at::MemoryFormat::ChannelsLast);
    communicator.broadcast(tensor, 0);
    EXPECT_TRUE(tensor.equal(expected));
  });
}

TEST_P(CommunicatorTest, GathersInRankOrder) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    const std::vector<at::Tensor> all =
        communicator.all_gather(here(communicator, at::full({2, 2}, world.rank() * 10, at::kFloat)));
    ASSERT_EQ(all.size(), static_cast<size_t>(world.size()));
    for (int rank = 0; rank < world.size(); ++rank)
      EXPECT_TRUE(all[static_cast<size_t>(rank)].eq(rank * 10).all().item<bool>());
  });
}

TEST_P(CommunicatorTest, FinishesManyAtOnceInOrder) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    std::vector<at::Tensor> tensors;
    std::vector<std::unique_ptr<Work>> works;
    for (int i = 0; i < 20; ++i) {
      tensors.push_back(here(communicator, at::full({1000 * (i + 1)}, i, at::kFloat)));
      works.push_back(communicator.start_all_reduce(tensors.back(), Reduction::kSum));
    }
    for (size_t i = works.size(); i-- > 0;) works[i]->wait();
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(tensors[static_cast<size_t>(i)].eq(i * world.size()).all().item<bool>());
  });
}

// Against a sum of what was gathered, added by halves in float.
TEST_P(CommunicatorTest, AddsInATree) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    for (const std::int64_t length : {1, 7, 1000, 4096, 100'003}) {
      at::manual_seed(world.rank());
      const at::Tensor own = here(communicator, at::randn({length}) * at::exp(4 * at::randn({length})));
      std::vector<at::Tensor> parts = communicator.all_gather(own);
      while (parts.size() > 1) {
        std::vector<at::Tensor> sums;
        for (size_t i = 0; i < parts.size(); i += 2) sums.push_back(parts[i] + parts[i + 1]);
        parts = sums;
      }
      const at::Tensor found = own.clone();
      communicator.all_reduce(found, Reduction::kTreeSum);
      EXPECT_TRUE(found.equal(parts[0])) << length;
    }
    const at::Tensor numbers = here(communicator, at::arange(10'001, at::kLong) * (world.rank() + 1));
    communicator.all_reduce(numbers, Reduction::kTreeSum);
    EXPECT_TRUE(
        numbers.equal(here(communicator, at::arange(10'001, at::kLong) * (world.size() * (world.size() + 1) / 2))));
  });
}

TEST_P(CommunicatorTest, AddsHalvesInFloat) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    // 1 + 2^-8 has no bfloat16; of two of them, added in float32, 2 + 2^-7 has none either, and rounds to even.
    for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
      at::manual_seed(5 + world.rank());
      const at::Tensor own = here(communicator, at::randn({999}).to(type));
      std::vector<at::Tensor> all = communicator.all_gather(own);
      at::Tensor exact = here(communicator, at::zeros({999}, at::kDouble));
      for (const at::Tensor& each : all) exact += each.to(at::kDouble);
      communicator.all_reduce(own, Reduction::kSum);
      const double step = type == at::kHalf ? 1.0 / 1024 : 1.0 / 128;
      EXPECT_TRUE(at::allclose(own.to(at::kDouble), exact, step, 4 * step)) << at::toString(type);
      const at::Tensor largest = all[static_cast<size_t>(world.rank())].clone();
      communicator.all_reduce(largest, Reduction::kMax);
      EXPECT_TRUE(largest.equal(at::stack(all).amax(0)));
    }
  });
}

TEST_P(CommunicatorTest, ScattersASum) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    const int ranks = world.size();
    const at::Tensor own = here(communicator, at::arange(6 * ranks, at::kFloat).view({2 * ranks, 3}) + world.rank());
    const at::Tensor part = communicator.reduce_scatter(own);
    const at::Tensor sum =
        here(communicator, at::arange(6 * ranks, at::kFloat).view({2 * ranks, 3}) * ranks + ranks * (ranks - 1) / 2);
    EXPECT_TRUE(part.equal(sum.narrow(0, 2 * world.rank(), 2)));
  });
}

TEST_P(CommunicatorTest, AllocatesWhatItReducesAndWhatOutlivesIt) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const at::Tensor tensor = communicator.allocate(1000, type);
      EXPECT_EQ(tensor.scalar_type(), type);
      EXPECT_EQ(tensor.device(), communicator.device());
      EXPECT_EQ(tensor.sizes(), at::IntArrayRef({1000}));
      EXPECT_TRUE(tensor.eq(0).all().item<bool>());
      tensor.add_(1);
      communicator.all_reduce(tensor, Reduction::kSum);
      EXPECT_TRUE(tensor.eq(world.size()).all().item<bool>());
    }
  });
}

TEST_P(CommunicatorTest, WritesItsJournal) {
  on_backend(GetParam(), [](World& /*world*/, Communicator& communicator) {
    const std::uint64_t before = communicator.journal().queued();
    communicator.all_reduce(here(communicator, at::zeros({256})), Reduction::kSum, "for the journal");
    const std::vector<Collective> kept = communicator.journal().collectives();
    EXPECT_EQ(kept.back().number, before + 1);
    EXPECT_EQ(kept.back().kind, "all-reduce");
    EXPECT_EQ(kept.back().bytes, 1024U);
    EXPECT_EQ(kept.back().label, "for the journal");
    EXPECT_TRUE(kept.back().started && kept.back().ended);
    EXPECT_LE(kept.back().queued, *kept.back().started);
    EXPECT_LE(*kept.back().started, *kept.back().ended);
  });
}

TEST_P(SameEverywhereTest, NamesWhatDiffersAndWhere) {
  tests::on_ranks(GetParam(), kLimit, [](World& world) {
    require_same(world, "the job", {{"seed", "1"}, {"version", "2"}});
    if (world.size() == 1) return;
    const auto message = [&](const Facts& facts) {
      try {
        require_same(world, "the job", facts);
      } catch (const runtime::UsageError& error) {
        return std::string(error.what());
      }
      return std::string();
    };
    EXPECT_EQ(message({{"seed", "1"}, {"width", world.rank() == 1 ? "64" : "32"}}),
              "the job differs between ranks: width is '32' on rank 0 and '64' on rank 1");
    EXPECT_EQ(message({{world.rank() == world.size() - 1 ? "height" : "width", "1"}}),
              "the job differs between ranks: rank 0 has 'width' where rank " + std::to_string(world.size() - 1) +
                  " has 'height'");
    Facts facts{{"a", "1"}};
    if (world.rank() > 0) facts.emplace_back("b", "2");
    EXPECT_EQ(message(facts), "the job differs between ranks: rank 0 has 1 entries, rank 1 has 2");
  });
}

torch::nn::Sequential small_model(const Communicator& communicator) {
  torch::manual_seed(1);
  torch::nn::Sequential model(torch::nn::Linear(20, 64), torch::nn::Tanh(), torch::nn::Linear(64, 64),
                              torch::nn::Tanh(), torch::nn::Linear(64, 3));
  model->to(communicator.device());
  return model;
}

std::vector<std::pair<std::string, at::Tensor>> parameters_of(torch::nn::Sequential& model) {
  std::vector<std::pair<std::string, at::Tensor>> named;
  for (const auto& item : model->named_parameters()) named.emplace_back(item.key(), item.value());
  return named;
}

// The gradient of the mean over 16 samples, whoever computed which of 4 micro-batches, equals one backward pass over
// all of them.
TEST_P(GradientReducerTest, EqualsOneProcessOnTheWholeBatch) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    torch::manual_seed(2);
    const at::Tensor inputs = here(communicator, at::randn({16, 20}));
    torch::nn::Sequential alone = small_model(communicator);
    alone->forward(inputs).square().mean().backward();

    torch::nn::Sequential model = small_model(communicator);
    GradientReducer reducer(
        parameters_of(model), communicator,
        {.first_bytes = 256, .bytes = 5000, .micro_batches = 4U / static_cast<std::uint64_t>(world.size())});
    EXPECT_GT(reducer.layout().size(), 2U);
    for (int step = 0; step < 3; ++step) {  // gradients of the step before must not add up
      reducer.start_step();
      const int own = 4 / world.size();
      for (int i = 0; i < own; ++i) {
        reducer.start_micro_batch();
        const int micro_batch = world.rank() * own + i;
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
  });
}

TEST_P(GradientReducerTest, CountsUnusedParametersAsZeroAndNamesThem) {
  on_backend(GetParam(), [](World& /*world*/, Communicator& communicator) {
    torch::nn::Sequential model = small_model(communicator);
    torch::nn::Linear unused(4, 4);
    unused->to(communicator.device());
    auto parameters = parameters_of(model);
    parameters.emplace_back("unused.weight", unused->weight);
    GradientReducer reducer(parameters, communicator);
    reducer.start_step();
    reducer.start_micro_batch();
    model->forward(here(communicator, at::ones({2, 20}))).sum().backward();
    EXPECT_EQ(reducer.finish_step().unused, std::vector<std::string>{"unused.weight"});
    EXPECT_TRUE(unused->weight.grad().eq(0).all().item<bool>());
  });
}

// A gradient is there from the first use on, whichever micro-batch that is, and none is left of the step before.
TEST_P(GradientReducerTest, KeepsAParameterThatOnlyOneMicroBatchUsed) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    for (const bool elastic : {false, true}) {
      for (const int user : {0, 1, 2}) {  // the last of which uses it nowhere
        torch::nn::Sequential model = small_model(communicator);
        torch::nn::Linear sometimes(20, 3);
        sometimes->to(communicator.device());
        auto parameters = parameters_of(model);
        parameters.emplace_back("sometimes.weight", sometimes->weight);
        GradientReducer reducer(parameters, communicator,
                                {.first_bytes = 1, .bytes = 1, .micro_batches = 2, .elastic = elastic});
        const at::Tensor inputs = here(communicator, at::ones({4, 20}));
        for (const int used_by : {0, user}) {
          reducer.start_step();
          for (int i = 0; i < 2; ++i) {
            reducer.start_micro_batch();
            at::Tensor loss = model->forward(inputs).sum();
            if (i == used_by) loss = loss + 5 * sometimes->forward(inputs).sum();
            loss.backward();
          }
          EXPECT_EQ(reducer.finish_step().unused.size(), used_by < 2 ? 0U : 1U);
          const double expected = used_by < 2 ? 5.0 * 4 * world.size() : 0.0;
          EXPECT_TRUE(sometimes->weight.grad().eq(expected).all().item<bool>()) << elastic << user << used_by;
        }
      }
    }
  });
}

// The same bits as one process, however the micro-batches are shared out.
TEST_P(GradientReducerTest, ElasticSumsHaveTheSameBitsOnAnyNumberOfRanks) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    constexpr int kMicroBatches = 8;
    torch::manual_seed(2);
    const at::Tensor inputs = here(communicator, at::randn({4 * kMicroBatches, 20}));
    const auto backward = [&](torch::nn::Sequential& model, int micro_batch) {
      (model->forward(inputs.narrow(0, micro_batch * 4, 4)).square().mean() / kMicroBatches).backward();
    };
    torch::nn::Sequential alone = small_model(communicator);
    const std::unique_ptr<Communicator> local = make_local_communicator(communicator.device());
    GradientReducer expected(parameters_of(alone), *local, {.micro_batches = kMicroBatches, .elastic = true});
    torch::nn::Sequential model = small_model(communicator);
    const int own = kMicroBatches / world.size();
    GradientReducer reducer(
        parameters_of(model), communicator,
        {.first_bytes = 256, .bytes = 5000, .micro_batches = static_cast<std::uint64_t>(own), .elastic = true});
    for (int step = 0; step < 3; ++step) {
      expected.start_step();
      for (int i = 0; i < kMicroBatches; ++i) {
        expected.start_micro_batch();
        backward(alone, i);
      }
      expected.finish_step();
      reducer.start_step();
      for (int i = 0; i < own; ++i) {
        reducer.start_micro_batch();
        backward(model, world.rank() * own + i);
      }
      reducer.finish_step();
      for (size_t p = 0; p < model->parameters().size(); ++p)
        EXPECT_TRUE(model->parameters()[p].grad().equal(alone->parameters()[p].grad())) << p;
    }
  });
}

TEST_P(GradientReducerTest, CompressesToBfloat16) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    torch::manual_seed(3);
    const at::Tensor inputs = here(communicator, at::randn({8, 20}));
    torch::nn::Sequential plain = small_model(communicator);
    plain->forward(inputs).square().mean().backward();
    torch::nn::Sequential model = small_model(communicator);
    GradientReducer reducer(parameters_of(model), communicator, {.compress = true});
    reducer.start_step();
    reducer.start_micro_batch();
    (model->forward(inputs).square().mean() / world.size()).backward();
    reducer.finish_step();
    bool is_rounded = false;
    for (size_t p = 0; p < model->parameters().size(); ++p) {
      const at::Tensor exact = plain->parameters()[p].grad();
      const at::Tensor found = model->parameters()[p].grad();
      EXPECT_TRUE(at::allclose(found, exact, 0.02, 1e-3)) << p;
      EXPECT_TRUE(found.equal(found.to(at::kBFloat16).to(at::kFloat)));
      is_rounded = is_rounded || !at::allclose(found, exact, 1e-4, 1e-6);
    }
    EXPECT_TRUE(is_rounded);
  });
}

TEST_P(GradientReducerTest, TellsWhenBucketsWereOnTheirWay) {
  on_backend(GetParam(), [](World& world, Communicator& communicator) {
    torch::nn::Sequential model = small_model(communicator);
    GradientReducer reducer(parameters_of(model), communicator, {.first_bytes = 1, .bytes = 20'000});
    const Collective::Time start = std::chrono::steady_clock::now();
    reducer.start_step();
    reducer.start_micro_batch();
    model->forward(here(communicator, at::ones({2, 20}))).sum().backward();
    const ReduceStatistics statistics = reducer.finish_step();
    const Collective::Time end = std::chrono::steady_clock::now();
    ASSERT_EQ(statistics.buckets.size(), reducer.layout().size());
    double sum = 0;
    std::uint64_t bytes = 0;
    Collective::Time before = start;
    for (const BucketTiming& bucket : statistics.buckets) {
      EXPECT_GE(bucket.ready, start);
      EXPECT_GE(bucket.started, bucket.ready);
      EXPECT_GE(bucket.ended, bucket.started);
      EXPECT_LE(bucket.ended, end);
      EXPECT_GE(bucket.ready, before);  // in the order of sending
      before = bucket.ready;
      sum += bucket.seconds();
      bytes += bucket.bytes;
      const double share = 2.0 * (world.size() - 1) / world.size();
      if (bucket.seconds() <= 0) continue;
      EXPECT_DOUBLE_EQ(bucket.bus_bandwidth(world.size()),
                       share * static_cast<double>(bucket.bytes) / bucket.seconds());
    }
    EXPECT_EQ(bytes, 4U * (20 * 64 + 64 + 64 * 64 + 64 + 64 * 3 + 3));
    EXPECT_LE(statistics.communication_seconds, sum * (1 + 1e-9));
    EXPECT_GE(statistics.overlap(), 0);
    EXPECT_LE(statistics.overlap(), 1);
  });
}

TEST(ReduceStatistics, OverlapIsTheShareThatIsNotExposed) {
  EXPECT_DOUBLE_EQ((ReduceStatistics{.exposed_seconds = 1, .communication_seconds = 4}).overlap(), 0.75);
  EXPECT_DOUBLE_EQ((ReduceStatistics{.exposed_seconds = 5, .communication_seconds = 4}).overlap(), 0);
  EXPECT_DOUBLE_EQ((ReduceStatistics{.exposed_seconds = 0.1, .communication_seconds = 0}).overlap(), 1);
}

TEST_P(GradientReducerTest, SendsBucketsInReverseOrderOfParameters) {
  on_backend(GetParam(), [](World& /*world*/, Communicator& communicator) {
    torch::nn::Sequential model = small_model(communicator);
    GradientReducer reducer(parameters_of(model), communicator, {.first_bytes = 1, .bytes = 1});
    std::vector<std::string> order;
    for (const auto& bucket : reducer.layout()) order.insert(order.end(), bucket.begin(), bucket.end());
    EXPECT_EQ(order, (std::vector<std::string>{"4.bias", "4.weight", "2.bias", "2.weight", "0.bias", "0.weight"}));
  });
}

}  // namespace
}  // namespace cskd::distributed
