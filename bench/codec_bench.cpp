// How fast the codecs are, in weights per second: every pair of interest through Transcoder on every instruction set of
// this processor, the plain scalar reference beside it. Source and target stay in the second-level cache, so the
// figures are the codecs' own and not the memory's.
//
//   codec_bench --benchmark_filter='F16.*Q8_0' --benchmark_repetitions=5
//
// And a table of every block type's kernels alone, of each instruction set, beside the reference in the same process:
//
//   codec_bench --table           all types
//   codec_bench --table Q4_K TQ1_0
//
// And what it costs to measure, of what was encoded from F16, how far it is from that, beside the encoding itself:
//
//   codec_bench --measure         Q4_K and some others
//   codec_bench --measure Q4_K
#include <benchmark/benchmark.h>
#include <hwy/highway.h>
#include <headrace/dtype.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "codec/codec.hpp"
#include "codec/kernel.hpp"
#include "codec/simd/error_kernels.hpp"
#include "flow/piece_errors.hpp"

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

// The table

constexpr std::size_t kTile = 2048;  // numbers at a time, as Transcoder takes them
constexpr int kTurns = 9;

/// Million weights per second of processor time, which other programs on the machine do not count in.
struct Speed {
  double median, least, most;
};

Speed speed_of(std::vector<double> turns) {
  std::sort(turns.begin(), turns.end());
  return {turns[turns.size() / 2], turns.front(), turns.back()};
}

/// One turn: as many passes over kElements numbers as make a few milliseconds.
template <typename Pass>
double one_turn(Pass pass) {
  for (std::size_t passes = 1;; passes *= 2) {
    const std::clock_t start = std::clock();
    for (std::size_t i = 0; i < passes; ++i) pass();
    benchmark::ClobberMemory();
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    if (seconds >= 0.004) return static_cast<double>(passes * kElements) / seconds / 1e6;
  }
}

/// Runs both by turns, so that what disturbs one disturbs the other, and prints a line.
template <typename Pass>
void compare(const Row& row, const char* what, std::int64_t target, Pass fast, Pass reference) {
  std::vector<double> ours, theirs;
  for (int turn = 0; turn < kTurns; ++turn) {
    theirs.push_back(one_turn(reference));
    ours.push_back(one_turn(fast));
  }
  const Speed a = speed_of(ours), b = speed_of(theirs);
  std::printf("%-8s %-9s %-8s %8.0f %8.0f %8.0f %8.0f %8.0f %8.0f %8.1f\n", std::string(name(row.dtype)).c_str(), what,
              hwy::TargetName(target), a.median, a.least, a.most, b.median, b.least, b.most, a.median / b.median);
  std::fflush(stdout);
}

/// A function that runs a kernel over all tiles of its source.
template <typename Kernel>
auto over_tiles(Kernel kernel) {
  return [kernel] {
    for (std::size_t at = 0; at < kElements; at += kTile) kernel(at);
  };
}

void compare_decoders(const Row& row, std::int64_t target) {
  std::vector<std::byte> bytes(bytes_for(row.dtype));
  if (row.scalar.encode != nullptr) {
    bytes = weights(row.dtype);
  } else {  // any bytes are numbers; without the highest bits there is no NaN among the scales
    std::mt19937 random(1);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0x3B);
  }
  std::vector<float> numbers(kTile);
  const auto pass = [&](DecodeFn decode) {
    return over_tiles(
        [&, decode](std::size_t at) { decode(bytes.data() + *bytes_of(row.dtype, at), numbers.data(), kTile); });
  };
  compare(row, "decode", target, pass(row.fast.decode), pass(row.scalar.decode));
}

void compare_encoders(const Row& row, std::int64_t target) {
  const std::vector<std::byte> source = weights(DType::F32);
  const auto* const numbers = reinterpret_cast<const float*>(source.data());
  std::vector<std::byte> bytes(bytes_for(row.dtype));
  const auto pass = [&](EncodeFn encode) {
    return over_tiles(
        [&, encode](std::size_t at) { encode(numbers + at, bytes.data() + *bytes_of(row.dtype, at), kTile); });
  };
  compare(row, "encode", target, pass(row.fast.encode), pass(row.scalar.encode));
}

void compare_weighted_encoders(const Row& row, std::int64_t target) {
  const std::vector<std::byte> source = weights(DType::F32);
  const auto* const numbers = reinterpret_cast<const float*>(source.data());
  std::vector<float> importance(kElements);
  std::mt19937 random(2);
  for (float& weight : importance) weight = std::exp(std::normal_distribution<float>()(random));
  const std::vector<float> squares(kElements / 32, 0.0004F);
  std::vector<std::byte> bytes(bytes_for(row.dtype));
  const auto pass = [&](WeightedEncodeFn encode) {
    return over_tiles([&, encode](std::size_t at) {
      const Weights of{importance.data() + at, squares.data() + at / 32};
      encode(numbers + at, of, bytes.data() + *bytes_of(row.dtype, at), kTile);
    });
  };
  compare(row, "weighted", target, pass(row.fast.encode_weighted), pass(row.scalar.encode_weighted));
}

void compare_kernels(const Row& row) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    if (row.fast.decode != row.scalar.decode) compare_decoders(row, target);
    if (row.fast.encode != row.scalar.encode) compare_encoders(row, target);
    if (row.fast.encode_weighted != row.scalar.encode_weighted) compare_weighted_encoders(row, target);
    hwy::SetSupportedTargetsForTest(0);
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// The cost of measuring

constexpr DType kMeasured[] = {DType::Q4_K, DType::Q6_K, DType::Q3_K, DType::Q4_0, DType::Q8_0, DType::BF16};

void print_speed(const char* what, DType to, std::int64_t target, Speed speed, double beside) {
  std::printf("%-22s %-8s %-8s %8.0f %8.0f %8.0f %8.1f\n", what, std::string(name(to)).c_str(), hwy::TargetName(target),
              speed.median, speed.least, speed.most, 100 * beside / speed.median);
}

/// Encoding F16 as a conversion does it, then measuring what was made, by turns; and the sums alone.
void measure_measuring(DType to, std::int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  const std::vector<std::byte> source = weights(DType::F16);
  std::vector<std::byte> result(bytes_for(to));
  std::vector<float> truth(kElements), made(kElements);
  const Transcoder transcoder(DType::F16, to, true);
  std::vector<double> encoding, measuring, summing;
  for (int turn = 0; turn < kTurns; ++turn) {
    encoding.push_back(one_turn([&] {
      if (transcoder.run(source.data(), result.data(), kElements)) std::abort();
    }));
    measuring.push_back(one_turn([&] {
      flow::PieceErrors errors;
      flow::measure_run(DType::F16, source.data(), to, result.data(), kElements, errors);
      benchmark::DoNotOptimize(errors);
    }));
    decode(DType::F16, source.data(), truth.data(), kElements);
    decode(to, result.data(), made.data(), kElements);
    summing.push_back(one_turn(over_tiles([&](std::size_t) {
      kernels::ErrorSums sums = kernels::error_sums(truth.data(), made.data(), kTile);
      benchmark::DoNotOptimize(sums);
    })));
  }
  const Speed encoded = speed_of(encoding);
  print_speed("encode F16 as", to, target, encoded, encoded.median);
  print_speed("measure F16 against", to, target, speed_of(measuring), encoded.median);
  print_speed("of it the sums alone", to, target, speed_of(summing), encoded.median);
  std::fflush(stdout);
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace

/// `types` are names; none stands for kMeasured.
void print_measuring(const std::vector<std::string_view>& types) {
  std::printf(
      "million weights per second of one core; of %d turns the median, least and most; time per cent of encoding\n",
      kTurns);
  for (const DType dtype : kMeasured) {
    if (!types.empty() && std::find(types.begin(), types.end(), name(dtype)) == types.end()) continue;
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) measure_measuring(dtype, target);
  }
}

/// `types` are names; none stands for all.
void print_table(const std::vector<std::string_view>& types) {
  std::printf("million weights per second of one core, in tiles of %zu; of %d turns the median, least and most\n",
              kTile, kTurns);
  std::printf("%-8s %-9s %-8s %8s %17s %8s %17s %8s\n", "type", "what", "target", "ours", "", "scalar", "", "ratio");
  for (const Row& row : all_rows()) {
    const bool wanted = types.empty() || std::find(types.begin(), types.end(), name(row.dtype)) != types.end();
    if (is_block(row.dtype) && wanted) compare_kernels(row);
  }
}

}  // namespace headrace::codec

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--table") {
    headrace::codec::print_table({argv + 2, argv + argc});
    return 0;
  }
  if (argc > 1 && std::string_view(argv[1]) == "--measure") {
    headrace::codec::print_measuring({argv + 2, argv + argc});
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  headrace::codec::register_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
