#include "models/plugin/program_reader.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/plugin/json_reader.h"
#include "models/safetensors_header.h"

namespace cskd::models {
namespace {

using Json = nlohmann::json;

constexpr int kSchema = 8;
constexpr int kMostValues = 1'000'000;
constexpr int kLargestSide = 4096;

// As torch/_export/serde/schema.py numbers them.
constexpr std::array kFormats{std::pair{1, at::MemoryFormat::Contiguous}, std::pair{2, at::MemoryFormat::ChannelsLast},
                              std::pair{4, at::MemoryFormat::Preserve}};
constexpr int kStrided = 7;

constexpr const char* kHowToExport =
    "export the model again with launch/export_encoder.py, in evaluation mode and with a batch of any size";

class ProgramReader : private JsonReader {
 public:
  using JsonReader::parse;

  explicit ProgramReader(const std::string& origin)
      : JsonReader(fmt::format("{}: the program cannot be run", origin)) {}

  Program read(const Json& document) {
    const std::int64_t schema = whole(field(field(document, "schema_version"), "major"));
    if (schema != kSchema) {
      fail(fmt::format("it has schema version {}; version {} is read, which PyTorch 2.11 writes", schema, kSchema));
    }
    const Json& module = field(document, "graph_module");
    const Json& graph = field(module, "graph");
    const Json& signature = field(module, "signature");
    read_inputs(list(field(graph, "inputs")), list(field(signature, "input_specs")), field(graph, "tensor_values"));
    for (const Json& node : list(field(graph, "nodes"))) program_.nodes.push_back(read_node(node));
    read_outputs(list(field(graph, "outputs")), list(field(signature, "output_specs")), field(graph, "tensor_values"));
    program_.values = static_cast<int>(values_.size());
    return std::move(program_);
  }

 private:
  // A new value.
  Value define(const std::string& name) {
    if (values_.size() >= kMostValues) fail(fmt::format("it has more than {} values", kMostValues));
    const auto value = static_cast<Value>(values_.size());
    if (!values_.emplace(name, value).second) fail(fmt::format("{} is made twice", shown(name)));
    return value;
  }
  Value use(const std::string& name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) fail(fmt::format("{} is used before anything makes it", shown(name)));
    return found->second;
  }

  void read_inputs(const Json& inputs, const Json& specs, const Json& tensors) {
    if (inputs.size() != specs.size()) fail("its inputs and their description differ in number");
    int images = 0;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const auto [what, spec] = kind(specs[i]);
      Input input;
      if (what == "parameter") {
        input = {.kind = InputKind::kParameter, .name = text(field(spec, "parameter_name"))};
      } else if (what == "buffer") {
        input = {.kind = InputKind::kBuffer, .name = text(field(spec, "buffer_name"))};
      } else if (what == "tensor_constant") {
        input = {.kind = InputKind::kConstant, .name = text(field(spec, "tensor_constant_name"))};
      } else if (what == "user_input") {
        input = {.kind = InputKind::kImages, .name = "images"};
        ++images;
      } else {
        fail(fmt::format("it takes an input of kind {}, where parameters, buffers and images are taken", shown(what)));
      }
      const auto [form, argument] = kind(inputs[i]);
      if (form != "as_tensor") fail(fmt::format("input {} is no tensor", shown(input.name)));
      const std::string value = text(field(argument, "name"));
      input.value = define(value);
      const Json& meta = field(tensors, value.c_str());
      input.type = type(field(meta, "dtype"));
      input.shape = input.kind == InputKind::kImages ? image_shape(meta, input.type) : shape(field(meta, "sizes"), 0);
      program_.inputs.push_back(std::move(input));
    }
    if (images != 1) fail(fmt::format("it takes {} inputs, where one, the images, is expected", images));
  }

  std::vector<std::int64_t> image_shape(const Json& meta, at::ScalarType type) const {
    const Json& sizes = list(field(meta, "sizes"));
    if (type != at::kFloat) fail("its images are not in float32");
    if (sizes.empty()) fail("its input is no batch of images");
    if (kind(sizes[0]).first == "as_int") {
      fail(fmt::format("it was exported for batches of {} images alone; {}", whole_of(sizes[0]), kHowToExport));
    }
    const std::vector<std::int64_t> image = shape(sizes, 1);
    if (image.size() != 3 || image[0] != 3 || image[1] != image[2] || image[1] < 1 || image[1] > kLargestSide) {
      fail(fmt::format("its input must be square images [N, 3, S, S] of at most {} pixels a side; {}", kLargestSide,
                       kHowToExport));
    }
    return image;
  }

  void read_outputs(const Json& outputs, const Json& specs, const Json& tensors) {
    for (const Json& spec : specs) {
      const std::string what = kind(spec).first;
      if (what != "user_output") {
        fail(fmt::format("it changes what it is given ({}), as a model in training mode does; {}", shown(what),
                         kHowToExport));
      }
    }
    for (const Json& output : outputs) {
      const auto [what, argument] = kind(output);
      if (what != "as_tensor") {
        fail(
            "its outputs must be one tensor, or a tuple of tensors; wrap a model with other outputs in a module that "
            "returns (pooled, tokens)");
      }
      const std::string name = text(field(argument, "name"));
      program_.outputs.push_back(use(name));
      const Json& sizes = list(field(field(tensors, name.c_str()), "sizes"));
      if (sizes.empty() || kind(sizes[0]).first == "as_int")
        fail(fmt::format("output {} is not one of each image of a batch", shown(name)));
      program_.output_shapes.push_back(shape(sizes, 1));
    }
    if (program_.outputs.empty() || program_.outputs.size() > 64) fail("it has no output, or more than 64");
  }

  WholeNumber size(const Json& value) const {
    const auto [what, number] = kind(value);
    if (what == "as_int") return whole(number);
    if (what == "as_name") return Symbol{use(text(number))};
    fail(fmt::format("a size is given as {}", shown(what)));
  }

  Value tensor(const Json& value) const { return use(text(field(value, "name"))); }

  template <typename Element, typename Read>
  std::vector<Element> elements(const Json& values, const Read& read) const {
    std::vector<Element> result;
    for (const Json& value : list(values)) result.push_back(read(value));
    return result;
  }

  ArgumentValue read_argument(const Json& argument) const {
    const auto [what, value] = kind(argument);
    if (what == "as_none") return NoValue{};
    if (what == "as_tensor" || what == "as_optional_tensor") return TensorValue{tensor(value)};
    if (what == "as_tensors" || what == "as_optional_tensors") {
      return elements<std::optional<Value>>(value, [this](const Json& each) -> std::optional<Value> {
        if (each.contains("as_none")) return std::nullopt;
        return tensor(each.contains("as_tensor") ? each["as_tensor"] : each);
      });
    }
    if (what == "as_int") return whole(value);
    if (what == "as_ints")
      return elements<WholeNumber>(value, [this](const Json& each) { return WholeNumber(whole(each)); });
    if (what == "as_sym_int") {
      const WholeNumber number = size(value);
      if (const auto* const symbol = std::get_if<Symbol>(&number)) return *symbol;
      return std::get<std::int64_t>(number);
    }
    if (what == "as_sym_ints") return elements<WholeNumber>(value, [this](const Json& each) { return size(each); });
    if (what == "as_float") return real(value);
    if (what == "as_floats") return elements<double>(value, [this](const Json& each) { return real(each); });
    if (what == "as_bool") return truth(value);
    if (what == "as_bools") return elements<bool>(value, [this](const Json& each) { return truth(each); });
    if (what == "as_string") return text(value);
    if (what == "as_scalar_type") return type(value);
    if (what == "as_device") return OwnDevice{};
    if (what == "as_layout") {
      if (whole(value) != kStrided) fail("a tensor is sparse");
      return at::kStrided;
    }
    if (what == "as_memory_format") {
      const std::int64_t number = whole(value);
      const auto* const found = std::ranges::find(kFormats, number, [](const auto& pair) { return pair.first; });
      if (found == kFormats.end()) fail(fmt::format("memory format {} is unknown", number));
      return found->second;
    }
    if (what == "as_graph") {
      fail("it holds an operator of higher order (a loop or a branch that depends on numbers); export a model without");
    }
    fail(fmt::format("an argument of kind {} is not read", shown(what)));
  }

  Node read_node(const Json& json) {
    Node node{.target = text(field(json, "target"))};
    for (const Json& input : list(field(json, "inputs")))
      node.arguments.push_back({text(field(input, "name")), read_argument(field(input, "arg"))});
    for (const Json& output : list(field(json, "outputs"))) {
      const auto [what, value] = kind(output);
      Node::Output made;
      if (what == "as_tensor") {
        made.values.push_back(define(text(field(value, "name"))));
      } else if (what == "as_tensors") {
        made.is_list = true;
        for (const Json& each : list(value)) made.values.push_back(define(text(field(each, "name"))));
      } else if (what == "as_sym_int") {
        made.is_number = true;
        made.values.push_back(define(text(field(value, "as_name"))));
      } else if (what != "as_none") {
        fail(fmt::format("{} returns a result of kind {}, which is not read", shown(node.target), shown(what)));
      }
      node.outputs.push_back(std::move(made));
    }
    return node;
  }

  std::map<std::string, Value> values_;
  Program program_;
};

// `object` with these keys alone.
Json only(const Json& object, std::initializer_list<const char*> keys) {
  Json result = Json::object();
  for (const char* const key : keys) {
    if (object.contains(key)) result[key] = object[key];
  }
  return result;
}

}  // namespace

Program read_program(std::string_view text, const std::string& origin) {
  ProgramReader reader(origin);
  return reader.read(reader.parse(text));
}

std::string shortened_program(std::string_view text, const std::string& origin) {
  ProgramReader checker(origin);
  const Json document = checker.parse(text);
  checker.read(document);
  const Json& module = document["graph_module"];
  Json graph = only(module["graph"], {"inputs", "outputs"});
  for (const Json& node : module["graph"]["nodes"])
    graph["nodes"].push_back(only(node, {"target", "inputs", "outputs"}));
  if (!graph.contains("nodes")) graph["nodes"] = Json::array();
  for (const char* const ends : {"inputs", "outputs"}) {
    for (const Json& end : graph[ends]) {
      const std::string& name = end["as_tensor"]["name"].get_ref<const std::string&>();
      graph["tensor_values"][name] = only(module["graph"]["tensor_values"][name], {"dtype", "sizes"});
    }
  }
  return Json{
      {"schema_version", document["schema_version"]},
      {"graph_module", {{"graph", graph}, {"signature", only(module["signature"], {"input_specs", "output_specs"})}}}}
      .dump();
}

}  // namespace cskd::models
