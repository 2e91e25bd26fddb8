// Saves a small model tensor by tensor: declare them all, write them in any order, commit.
#include <headrace/headrace.hpp>

#include <cmath>
#include <cstdio>
#include <span>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: save_weights OUT.safetensors\n");
    return 2;
  }
  try {
    const std::vector<headrace::TensorSpec> tensors = {
        {"embedding.weight", headrace::DType::F32, {1000, 64}},
        {"output.bias", headrace::DType::F32, {64}},
    };
    headrace::WriterOptions options;
    options.metadata.set_string("format", "pt");
    options.force = true;
    headrace::CheckpointWriter writer(argv[1], tensors, options);

    const std::vector<float> bias(64, 0.5F);
    writer.write("output.bias", std::as_bytes(std::span(bias)));

    // A tensor need never be in memory as a whole: here it comes row by row.
    std::vector<float> row(64);
    for (std::size_t i = 0; i < 1000; ++i) {
      for (std::size_t j = 0; j < row.size(); ++j) row[j] = std::sin(static_cast<float>(i * row.size() + j));
      writer.write_at("embedding.weight", i * 64 * sizeof(float), std::as_bytes(std::span(row)));
    }
    writer.commit();
    std::printf("saved %zu tensors to %s\n", tensors.size(), argv[1]);
  } catch (const headrace::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
