#include "bert.hpp"

#include <utility>

namespace {

constexpr cl_uint kHeads = 8;  // no tensor's shape tells
constexpr char kEmbeddings[] = "bert.embeddings.";
constexpr char kWords[] = "bert.embeddings.word_embeddings.weight";
constexpr char kPositions[] = "bert.embeddings.position_embeddings.weight";
constexpr char kKinds[] = "bert.embeddings.token_type_embeddings.weight";
constexpr char kTransform[] = "cls.predictions.transform.";
constexpr char kBias[] = "cls.predictions.bias";

std::string layer_name(std::size_t number) { return "bert.encoder.layer." + std::to_string(number) + "."; }

// 0 where there is no such tensor: it is missing then, which is said later.
std::uint64_t extent(const headrace::DiskMap& map, const std::string& name, std::size_t dimension) {
  const headrace::TensorInfo* tensor = map.find(name);
  return tensor == nullptr || tensor->shape.size() <= dimension ? 0 : tensor->shape[dimension];
}

using Specs = std::vector<headrace::TensorSpec>;
using Shape = std::vector<std::uint64_t>;

void expect(Specs& specs, std::string name, Shape shape) {
  specs.push_back({std::move(name), headrace::DType::F32, std::move(shape), headrace::DType::F32});
}

void expect_linear(Specs& specs, const std::string& name, std::uint64_t rows, std::uint64_t columns) {
  expect(specs, name + ".weight", {rows, columns});
  expect(specs, name + ".bias", {rows});
}

void expect_norm(Specs& specs, const std::string& name, std::uint64_t width) {
  expect(specs, name + ".weight", {width});
  expect(specs, name + ".bias", {width});
}

Specs layer_specs(const std::string& at, std::uint64_t width, std::uint64_t inner) {
  Specs specs;
  for (const char* part : {"query", "key", "value"}) expect_linear(specs, at + "attention.self." + part, width, width);
  expect_linear(specs, at + "attention.output.dense", width, width);
  expect_norm(specs, at + "attention.output.LayerNorm", width);
  expect_linear(specs, at + "intermediate.dense", inner, width);
  expect_linear(specs, at + "output.dense", width, inner);
  expect_norm(specs, at + "output.LayerNorm", width);
  return specs;
}

// The modules under one prefix.
struct Part {
  Engine& engine;
  const Bert::Weights& weights;
  std::string prefix;

  Matrix linear(const Matrix& x, const std::string& name) const {
    return engine.linear(x, weights(prefix + name + ".weight"), weights(prefix + name + ".bias"));
  }
  void norm(const Matrix& x) const { norm(x, ""); }
  void norm(const Matrix& x, const std::string& of) const {
    engine.norm(x, weights(prefix + of + "LayerNorm.weight"), weights(prefix + of + "LayerNorm.bias"));
  }
};

Matrix embed(const Part& part, std::span<const cl_uint> tokens) {
  const Matrix x = part.engine.embed(tokens, part.weights(kWords), part.weights(kPositions), part.weights(kKinds));
  part.norm(x);
  return x;
}

Matrix run_layer(const Part& part, const Matrix& x) {
  const Matrix q = part.linear(x, "attention.self.query");
  const Matrix k = part.linear(x, "attention.self.key");
  const Matrix v = part.linear(x, "attention.self.value");
  const Matrix seen = part.linear(part.engine.attend(q, k, v, kHeads), "attention.output.dense");
  part.engine.add(seen, x);
  part.norm(seen, "attention.output.");
  const Matrix inner = part.linear(seen, "intermediate.dense");
  part.engine.gelu(inner);
  const Matrix y = part.linear(inner, "output.dense");
  part.engine.add(y, seen);
  part.norm(y, "output.");
  return y;
}

Matrix score(const Part& part, const Matrix& x) {
  const Matrix y = part.linear(x, "dense");
  part.engine.gelu(y);
  part.norm(y);
  return part.engine.linear(y, part.weights(kWords), part.weights(kBias));
}

}  // namespace

headrace::DiskMapOptions Bert::selection() {
  headrace::DiskMapOptions options;
  options.type = headrace::DType::F32;  // what the kernels compute with, whatever is stored
  options.shaping.select = {R"(^bert\.embeddings\.(\w+_embeddings|LayerNorm)\.)", R"(^bert\.encoder\.)",
                            R"(^cls\.predictions\.(transform\.|bias$))"};
  return options;
}

Bert::Bert(const headrace::DiskMap& map) {
  const std::uint64_t letters = extent(map, kWords, 0), width = extent(map, kWords, 1);
  const std::uint64_t longest = extent(map, kPositions, 0);
  Specs embeddings;
  expect(embeddings, kWords, {letters, width});
  expect(embeddings, kPositions, {longest, width});
  expect(embeddings, kKinds, {2, width});
  expect_norm(embeddings, std::string(kEmbeddings) + "LayerNorm", width);
  add_unit("embeddings", embeddings);

  const std::uint64_t inner = extent(map, layer_name(0) + "intermediate.dense.weight", 0);
  for (std::size_t i = 0; i == 0 || map.contains(layer_name(i) + "output.dense.weight"); ++i)
    add_unit("layer " + std::to_string(i), layer_specs(layer_name(i), width, inner));

  Specs head;
  expect_linear(head, std::string(kTransform) + "dense", width, width);
  expect_norm(head, std::string(kTransform) + "LayerNorm", width);
  expect(head, kBias, {letters});
  add_unit("head", head);
  units_.back().tensors.push_back(kWords);  // a letter's score is how alike the head's and its embedding are

  map.require(specs_);
  if (width % (8 * kHeads) != 0 || inner % 8 != 0) {
    throw headrace::Error(headrace::ErrorCode::unsupported, "the kernels take eight numbers at a time",
                          {.expected = "8 heads of a multiple of 8", .found = "a width of " + std::to_string(width)});
  }
  letters_ = static_cast<cl_uint>(letters);
  longest_ = static_cast<cl_uint>(longest);
}

void Bert::add_unit(std::string name, const Specs& tensors) {
  headrace::UnitSpec unit{.name = std::move(name), .tensors = {}};
  for (const headrace::TensorSpec& tensor : tensors) unit.tensors.push_back(tensor.name);
  units_.push_back(std::move(unit));
  specs_.insert(specs_.end(), tensors.begin(), tensors.end());
}

Matrix Bert::run(std::size_t unit, Engine& engine, const Weights& weights, std::span<const cl_uint> tokens,
                 const Matrix& x) const {
  if (unit == 0) return embed({engine, weights, kEmbeddings}, tokens);
  if (unit + 1 == units_.size()) return score({engine, weights, kTransform}, x);
  return run_layer({engine, weights, layer_name(unit - 1)}, x);
}
