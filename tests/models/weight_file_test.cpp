#include "models/weights/weight_file.h"

#include <limits>
#include <span>

#include <ATen/ATen.h>

#include "models/safetensors.h"
#include "models/weights/encoder_weights.h"
#include "tests/models/safetensors_file.h"

namespace cskd::models {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

class WeightFileTest : public SafetensorsTest {
 protected:
  std::filesystem::path index(const std::string& text) {
    write(folder_ / "m.safetensors.index.json", text);
    return folder_ / "m.safetensors.index.json";
  }
  void expect_index_refused(const std::string& text, const std::string& reason) {
    SCOPED_TRACE(text);
    const std::filesystem::path path = index(text);
    EXPECT_THAT([&] { WeightFile file(path); },
                ThrowsMessage<runtime::DataError>(AllOf(HasSubstr(path.native()), HasSubstr(reason))));
  }
  void save(const std::string& name, const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
    write_safetensors(folder_ / name, tensors, {});
  }
};

TEST_F(WeightFileTest, AnIndexJoinsItsFiles) {
  save("m-1.safetensors", {{"a", at::full({2}, 1.5)}});
  save("m-2.safetensors", {{"b", at::full({1}, 2.5)}});
  const WeightFile file(index(R"({"metadata": {"total_size": 12},
                                  "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}})"));
  EXPECT_EQ(file.tensors().size(), 2);
  float value = 0;
  file.read("a", 4, std::as_writable_bytes(std::span(&value, 1)));
  EXPECT_EQ(value, 1.5F);
  file.read("b", 0, std::as_writable_bytes(std::span(&value, 1)));
  EXPECT_EQ(value, 2.5F);
  EXPECT_THAT(file.files(), ElementsAre(folder_ / "m.safetensors.index.json", folder_ / "m-1.safetensors",
                                        folder_ / "m-2.safetensors"));
}

TEST_F(WeightFileTest, DamagedIndexesAreRefused) {
  save("m-1.safetensors", {{"a", at::zeros({2})}, {"c", at::zeros({2})}});
  save("m-2.safetensors", {{"b", at::zeros({2})}});
  save("m-3.safetensors", {{"a", at::zeros({2})}});
  expect_index_refused("", "is no index of weights");
  expect_index_refused("[1]", "expected {\"weight_map\"");
  expect_index_refused(R"({"weight_map": {"a": )", "is no index of weights");
  expect_index_refused(R"({"weight_map": {}})", "names no tensor");
  expect_index_refused(R"({"weight_map": {"a": 5}})", "the file of tensor \"a\" is no text");
  expect_index_refused(R"({"weight_map": {"a": "../x.safetensors"}})", "no safetensors file beside it");
  expect_index_refused(R"({"weight_map": {"a": "/etc/x.safetensors"}})", "no safetensors file beside it");
  expect_index_refused(R"({"weight_map": {"a": "m-1.bin"}})", "no safetensors file beside it");
  expect_index_refused(R"({"weight_map": {"a": "m-1.safetensors"}})", "does not name tensor \"c\"");
  expect_index_refused(R"({"weight_map": {"a": "m-1.safetensors", "c": "m-1.safetensors", "d": "m-1.safetensors"}})",
                       "tensor \"d\" is not in \"m-1.safetensors\"");
  expect_index_refused(R"({"weight_map": {"b": "m-1.safetensors", "a": "m-2.safetensors"}})", "is not in");
  const std::filesystem::path twice =
      index(R"({"weight_map": {"a": "m-1.safetensors", "c": "m-1.safetensors", "b": "m-3.safetensors"}})");
  EXPECT_THAT([&] { WeightFile file(twice); },
              ThrowsMessage<runtime::DataError>(HasSubstr("m-3.safetensors: tensor \"a\" is in another file, too")));
  EXPECT_THROW(WeightFile(index(R"({"weight_map": {"a": "gone.safetensors"}})")), runtime::Error);
}

TEST_F(WeightFileTest, AnEncoderIsReadFromSeveralFiles) {
  const auto encoder = make_encoder("vit_tiny_patch16_224", 32);
  std::vector<std::pair<std::string, at::Tensor>> halves[2];
  std::string map;
  int number = 0;
  for (const auto& item : encoder->named_parameters()) {
    const int half = number++ % 2;
    halves[half].emplace_back("module." + item.key(), item.value().detach() + 1);
    map += fmt::format(R"({}"module.{}": "m-{}.safetensors")", map.empty() ? "" : ", ", item.key(), half);
  }
  save("m-0.safetensors", halves[0]);
  save("m-1.safetensors", halves[1]);
  const auto loaded = make_encoder("vit_tiny_patch16_224", 32);
  const WeightReport report = load_encoder_weights(*loaded, index("{\"weight_map\": {" + map + "}}"));
  EXPECT_EQ(report.layout, "timm");
  EXPECT_EQ(report.used, static_cast<std::size_t>(number));
  for (const auto& item : encoder->named_parameters())
    EXPECT_TRUE(at::equal(loaded->named_parameters()[item.key()], item.value() + 1)) << item.key();
}

TEST_F(WeightFileTest, ValuesThatAreNotFiniteAreRefusedByTheirName) {
  const auto encoder = make_encoder("mobilenetv3_small_100", 32);
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    for (const auto& item : encoder->named_parameters())
      tensors.emplace_back(item.key(), item.value().detach().clone());
    for (const auto& item : encoder->named_buffers()) tensors.emplace_back(item.key(), item.value().clone());
    for (auto& [name, tensor] : tensors) {
      if (name == "bn1.running_var") tensor[3] = bad;
    }
    save("bad.safetensors", tensors);
    EXPECT_THAT([&] { load_encoder_weights(*encoder, folder_ / "bad.safetensors"); },
                ThrowsMessage<runtime::DataError>(
                    AllOf(HasSubstr((folder_ / "bad.safetensors").native()), HasSubstr("bn1.running_var"))));
  }
  // Finite numbers whose sum overflows are numbers all the same.
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& item : encoder->named_parameters()) tensors.emplace_back(item.key(), item.value().detach().clone());
  for (const auto& item : encoder->named_buffers()) tensors.emplace_back(item.key(), item.value().clone());
  for (auto& [name, tensor] : tensors) {
    if (name == "bn1.running_var") tensor.fill_(3e38);
  }
  save("large.safetensors", tensors);
  EXPECT_NO_THROW(load_encoder_weights(*encoder, folder_ / "large.safetensors"));
}

TEST_F(WeightFileTest, AFileIsRecognisedByItsNamesAndShapes) {
  const auto encoder = make_encoder("resnet18");
  std::vector<std::pair<std::string, at::Tensor>> tensors{{"fc.weight", at::zeros({1000, 512})}};
  for (const auto& item : encoder->named_parameters()) tensors.emplace_back(item.key(), item.value().detach());
  for (const auto& item : encoder->named_buffers()) tensors.emplace_back(item.key(), item.value());
  save("r.safetensors", tensors);
  const std::vector<RecognisedEncoder> found = recognise_encoders(WeightFile(folder_ / "r.safetensors"));
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].name, "resnet18");
  EXPECT_EQ(sentence(found[0].report, encoder->shape()), "timm resnet18, 120 of 121 tensors used, classifier left out");
  EXPECT_EQ(sentence(examine_encoder_weights("resnet18", 64, folder_ / "r.safetensors"), encoder->shape()),
            "timm resnet18, 120 of 121 tensors used, classifier left out");
  EXPECT_THAT([&] { examine_encoder_weights("mobilenetv3_small_100", 0, folder_ / "r.safetensors"); },
              ThrowsMessage<runtime::DataError>(AllOf(HasSubstr("missing"), HasSubstr("They are those of resnet18"))));

  save("text.safetensors", {{"text_model.embeddings.weight", at::zeros({2})}});
  EXPECT_TRUE(recognise_encoders(WeightFile(folder_ / "text.safetensors")).empty());
}

}  // namespace
}  // namespace cskd::models
