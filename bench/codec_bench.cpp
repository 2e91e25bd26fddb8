// How fast the codecs are, in weights per second: every pair of interest through Transcoder on every instruction set of
// this processor, the plain scalar reference beside it. Source and target stay in the second-level cache, so the
// figures are the codecs' own and not the memory's.
//
//   codec_bench --benchmark_filter='F16.*Q8_0' --benchmark_repetitions=5
#include <benchmark/benchmark.h>
#include <hwy/highway.h>
#include <headrace/dtype.hpp>

#include <cmath>
#include <cstddef>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "codec/codec.hpp"
#include "codec/kernel.hpp"

namespace headrace::codec {
namespace {

constexpr std::size_t kElements = 128 << 10;  // 256 KiB of F16, 512 KiB of F32

struct Pair {
  DType from, to;
};

constexpr Pair kPairs[] = {
    {DType::F16, DType::Q8_0}, {DType::F16, DType::Q4_0}, {DType::BF16, DType::Q8_0},   {DType::F32, DType::Q8_0},
    {DType::F32, DType::Q4_0}, {DType::F32, DType::F16},  {DType::F16, DType::F32},     {DType::BF16, DType::F32},
    {DType::F32, DType::BF16}, {DType::BF16, DType::F16}, {DType::Q8_0, DType::F32},    {DType::Q4_0, DType::F32},
    {DType::F64, DType::F32},  {DType::F64, DType::F16},  {DType::F32, DType::F8_E4M3}, {DType::F8_E4M3, DType::F32},
};

std::size_t bytes_for(DType dtype) { return static_cast<std::size_t>(*bytes_of(dtype, kElements)); }

/// Weights as a trained model has them: normal around 0, ±0.02.
std::vector<std::byte> weights(DType dtype) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0F, 0.02F);
  std::vector<float> numbers(kElements);
  for (float& number : numbers) number = normal(random);
  std::vector<std::byte> bytes(bytes_for(dtype));
  find_row(dtype)->scalar.encode(numbers.data(), bytes.data(), kElements);
  return bytes;
}

/// Shown as items_per_second.
void count_weights(benchmark::State& state) {
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(kElements));
}

void run_transcoder(benchmark::State& state, Pair pair, std::int64_t target, bool check) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  const std::vector<std::byte> source = weights(pair.from);
  std::vector<std::byte> result(bytes_for(pair.to));
  const Transcoder transcoder(pair.from, pair.to, check);
  for (auto _ : state) {
    if (transcoder.run(source.data(), result.data(), kElements)) state.SkipWithError("a weight was refused");
    benchmark::ClobberMemory();
  }
  count_weights(state);
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

void run_scalar(benchmark::State& state, Pair pair) {
  const std::vector<std::byte> source = weights(pair.from);
  std::vector<std::byte> result(bytes_for(pair.to));
  std::vector<float> numbers(kElements);
  for (auto _ : state) {
    find_row(pair.from)->scalar.decode(source.data(), numbers.data(), kElements);
    find_row(pair.to)->scalar.encode(numbers.data(), result.data(), kElements);
    benchmark::ClobberMemory();
  }
  count_weights(state);
}

/// The pairs of interest, and every other block type from and to float32.
std::vector<Pair> all_pairs() {
  std::vector<Pair> pairs(std::begin(kPairs), std::end(kPairs));
  for (const Row& row : all_rows()) {
    if (!is_block(row.dtype) || row.scalar.encode == nullptr || row.dtype == DType::Q8_0 || row.dtype == DType::Q4_0)
      continue;
    pairs.push_back({DType::F32, row.dtype});
    pairs.push_back({row.dtype, DType::F32});
  }
  return pairs;
}

/// False where the scalar reference is all there is, the same on every target.
bool has_vector_kernels(Pair pair) {
  const Row &from = *find_row(pair.from), &to = *find_row(pair.to);
  return from.fast.decode != from.scalar.decode || to.fast.encode != to.scalar.encode;
}

void register_all() {
  for (const Pair pair : all_pairs()) {
    const std::string title = std::string(name(pair.from)) + "->" + std::string(name(pair.to)) + "/";
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
      if (!has_vector_kernels(pair)) break;
      for (const bool check : {false, true}) {
        const std::string full = title + hwy::TargetName(target) + (check ? "/checked" : "");
        benchmark::RegisterBenchmark(full.c_str(),
                                     [=](benchmark::State& state) { run_transcoder(state, pair, target, check); });
      }
    }
    benchmark::RegisterBenchmark((title + "reference").c_str(),
                                 [=](benchmark::State& state) { run_scalar(state, pair); });
  }
}

}  // namespace
}  // namespace headrace::codec

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  headrace::codec::register_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
