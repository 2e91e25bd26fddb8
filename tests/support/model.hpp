// Small checkpoints for tests.
#pragma once

#include <headrace/writer.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace headrace::test {

/// A tensor and its bytes.
struct TestTensor {
  TensorSpec spec;
  std::vector<std::byte> bytes;
};

inline std::uint64_t elements_of(const TensorSpec& spec) {
  std::uint64_t elements = 1;
  for (const std::uint64_t dim : spec.shape) elements *= dim;
  return elements;
}

/// Any bytes at all, different for each seed.
inline TestTensor random_bytes(std::string name, DType dtype, std::vector<std::uint64_t> shape, unsigned seed) {
  TestTensor tensor{{std::move(name), dtype, std::move(shape)}, {}};
  tensor.bytes.resize(*bytes_of(dtype, elements_of(tensor.spec)));
  std::mt19937 random(seed);
  for (std::byte& byte : tensor.bytes) byte = static_cast<std::byte>(random());
  return tensor;
}

/// Normal random numbers, as F32.
inline TestTensor random_floats(std::string name, std::vector<std::uint64_t> shape, unsigned seed) {
  TestTensor tensor{{std::move(name), DType::F32, std::move(shape)}, {}};
  std::vector<float> values(elements_of(tensor.spec));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 0.02F);
  for (float& value : values) value = normal(random);
  const auto bytes = std::as_bytes(std::span(values));
  tensor.bytes.assign(bytes.begin(), bytes.end());
  return tensor;
}

inline void save(const std::filesystem::path& path, const std::vector<TestTensor>& tensors,
                 const Metadata& metadata = {}) {
  std::vector<TensorSpec> specs;
  for (const TestTensor& tensor : tensors) specs.push_back(tensor.spec);
  CheckpointWriter writer(path, specs, {.metadata = metadata, .force = true});
  for (const TestTensor& tensor : tensors) writer.write(tensor.spec.name, tensor.bytes);
  writer.commit();
}

inline std::vector<std::byte> bytes_in(const Checkpoint& checkpoint, const TensorInfo& tensor) {
  std::vector<std::byte> bytes(tensor.bytes);
  checkpoint.read(tensor, 0, bytes);
  return bytes;
}

}  // namespace headrace::test
