// Conversions through the public API.
#include "support/error_of.hpp"
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>

namespace headrace {
namespace {

using test::bytes_in;
using test::error_of;
using test::random_bytes;
using test::random_floats;
using test::read_file;
using test::TempFolder;
using test::write_file;

test::TestTensor floats(std::string name, std::vector<std::uint64_t> shape, std::vector<float> values) {
  test::TestTensor tensor{{std::move(name), DType::F32, std::move(shape)}, {}};
  const auto bytes = std::as_bytes(std::span(values));
  tensor.bytes.assign(bytes.begin(), bytes.end());
  return tensor;
}

TEST(Convert, WithoutTypeEverySafetensorsTypeAndShapeStays) {
  const TempFolder folder;
  std::vector<test::TestTensor> tensors;
  for (const DTypeInfo& dtype : all_dtypes()) {
    if (dtype.safetensors_name.empty()) continue;
    const std::string name(dtype.name);
    tensors.push_back(random_bytes(name + ".2d", dtype.dtype, {6, 8}, 1));
    tensors.push_back(random_bytes(name + ".6d", dtype.dtype, {1, 2, 1, 3, 2, 4}, 2));
    tensors.push_back(random_bytes(name + ".none", dtype.dtype, {3, 0, 2}, 3));
    if (dtype.block_elements == 1) tensors.push_back(random_bytes(name + ".scalar", dtype.dtype, {}, 4));
  }
  Metadata metadata;
  metadata.set_string("format", "pt");
  metadata.set_string("quoted \"é\"", "line\nbreak");
  test::save(folder / "in.safetensors", tensors, metadata);
  convert(folder / "in.safetensors", folder / "out.safetensors");
  EXPECT_EQ(read_file(folder / "in.safetensors"), read_file(folder / "out.safetensors"));
  const auto report = verify(Checkpoint::open(folder / "in.safetensors"), Checkpoint::open(folder / "out.safetensors"));
  EXPECT_TRUE(report.files_identical);
  EXPECT_TRUE(report.metadata_identical);
}

TEST(Convert, RanksAboveFourGoToGgufAndComeBack) {
  const TempFolder folder;
  const auto tensor = random_bytes("video.weight", DType::BF16, {5, 3, 2, 4, 8}, 1);
  test::save(folder / "in.safetensors", {tensor, random_floats("b", {4}, 2)});
  convert(folder / "in.safetensors", folder / "mid.gguf");
  const Checkpoint mid = Checkpoint::open(folder / "mid.gguf");
  EXPECT_EQ(to_string(mid.find("video.weight")->shape), "[15, 2, 4, 8]");
  const auto recorded = mid.metadata().find("comfy.gguf.orig_shape.video.weight");
  ASSERT_TRUE(recorded);
  EXPECT_EQ(recorded->as_i32_array(), (std::vector<std::int32_t>{5, 3, 2, 4, 8}));
  EXPECT_TRUE(verify(Checkpoint::open(folder / "in.safetensors"), mid).same(0));

  convert(folder / "mid.gguf", folder / "out.safetensors");
  const Checkpoint out = Checkpoint::open(folder / "out.safetensors");
  EXPECT_EQ(to_string(out.find("video.weight")->shape), "[5, 3, 2, 4, 8]");
  EXPECT_EQ(bytes_in(out, *out.find("video.weight")), tensor.bytes);
  EXPECT_FALSE(out.metadata().find("comfy.gguf.orig_shape.video.weight"));
}

TEST(Convert, ScalarsGoToGgufAsVectorsAndComeBack) {
  const TempFolder folder;
  const auto scalar = random_bytes("logit_scale", DType::BF16, {}, 1);
  test::save(folder / "in.safetensors", {random_floats("w", {2, 32}, 2), scalar, random_floats("one", {1}, 3)});
  convert(folder / "in.safetensors", folder / "mid.gguf");
  const Checkpoint mid = Checkpoint::open(folder / "mid.gguf");
  EXPECT_EQ(to_string(mid.find("logit_scale")->shape), "[1]");
  EXPECT_EQ(mid.metadata().find("headrace.scalars")->as_string_array(), std::vector<std::string_view>{"logit_scale"});
  EXPECT_TRUE(verify(Checkpoint::open(folder / "in.safetensors"), mid).same(0));
  convert(folder / "mid.gguf", folder / "out.safetensors");
  const Checkpoint out = Checkpoint::open(folder / "out.safetensors");
  EXPECT_EQ(to_string(out.find("logit_scale")->shape), "[]");
  EXPECT_EQ(to_string(out.find("one")->shape), "[1]");
  EXPECT_EQ(bytes_in(out, *out.find("logit_scale")), scalar.bytes);
}

TEST(Convert, SmallNeighboursKeepTheirBytesWhereTheOutputSortsThem) {
  const TempFolder folder;
  const std::vector<test::TestTensor> tensors = {random_bytes("middle", DType::I32, {10}, 1),
                                                 random_bytes("first", DType::F64, {2}, 2),
                                                 random_bytes("last", DType::F16, {4}, 3)};
  test::save(folder / "in.gguf", tensors);
  convert(folder / "in.gguf", folder / "out.safetensors", {.threads = 1});
  const Checkpoint out = Checkpoint::open(folder / "out.safetensors");
  for (const auto& tensor : tensors)
    EXPECT_EQ(bytes_in(out, *out.find(tensor.spec.name)), tensor.bytes) << tensor.spec.name;
}

TEST(Convert, GgufCarriesWhatReadersExpectAndNothingMadeUp) {
  const TempFolder folder;
  Metadata metadata;
  metadata.set_string("format", "pt");
  metadata.set_string("general.alignment", "64");
  test::save(folder / "in.safetensors", {random_floats("a.weight", {4, 64}, 1)}, metadata);
  convert(folder / "in.safetensors", folder / "out.gguf", {.type = DType::Q8_0});
  const Checkpoint out = Checkpoint::open(folder / "out.gguf");
  EXPECT_FALSE(out.metadata().find("general.architecture"));
  EXPECT_FALSE(out.metadata().find("general.alignment"));
  EXPECT_EQ(out.metadata().find("general.file_type")->as_u64(), 7U);
  EXPECT_EQ(out.metadata().find("general.quantization_version")->as_u64(), 2U);
  EXPECT_EQ(out.metadata().find("format")->as_string(), "pt");

  convert(folder / "in.safetensors", folder / "named.gguf", {.architecture = "flux"});
  const Checkpoint named = Checkpoint::open(folder / "named.gguf");
  EXPECT_EQ(named.metadata().find("general.architecture")->as_string(), "flux");
  EXPECT_EQ(named.metadata().find("general.file_type")->as_u64(), 0U);

  const Plan back = plan_conversion(folder / "named.gguf", folder / "back.safetensors");
  EXPECT_EQ(back.metadata().size(), 2U);  // format and general.architecture; the numbers are named in the notes
  EXPECT_EQ(back.notes().size(), 2U);
}

TEST(Convert, MixedTypesOfOneModel) {
  const TempFolder folder;
  const auto ids = random_bytes("ids", DType::I64, {3, 32}, 5);
  test::save(folder / "in.safetensors",
             {random_floats("w", {8, 64}, 1), random_floats("odd", {8, 33}, 2), random_floats("bias", {64}, 3),
              random_bytes("wide_bias", DType::F64, {4}, 4), ids});
  const Plan plan = plan_conversion(folder / "in.safetensors", folder / "out.gguf", {.type = DType::Q4_0});
  convert(plan);
  const Checkpoint out = Checkpoint::open(folder / "out.gguf");
  EXPECT_EQ(out.find("w")->dtype, DType::Q4_0);
  EXPECT_EQ(out.find("odd")->dtype, DType::F16);
  EXPECT_EQ(out.find("bias")->dtype, DType::F32);
  EXPECT_EQ(out.find("wide_bias")->dtype, DType::F64);
  EXPECT_EQ(bytes_in(out, *out.find("ids")), ids.bytes);
  std::set<std::string> reasons;
  for (std::size_t i = 0; i < plan.size(); ++i) reasons.insert(explain(plan[i]));
  EXPECT_TRUE(reasons.contains("row of 33 isn't whole blocks of 32"));
  EXPECT_EQ(plan.notes().size(), 1U);
}

TEST(Convert, DecodesBlocksForSafetensors) {
  const TempFolder folder;
  test::save(folder / "in.safetensors", {random_floats("w", {64, 256}, 1)});
  convert(folder / "in.safetensors", folder / "mid.gguf", {.type = DType::Q8_0});
  const Error refused = error_of([&] { convert(folder / "mid.gguf", folder / "out.safetensors"); });
  EXPECT_EQ(refused.code(), ErrorCode::unsupported);
  EXPECT_EQ(refused.detail().tensor, "w");
  EXPECT_NE(refused.detail().hint.find("--type"), std::string::npos);
  convert(folder / "mid.gguf", folder / "out.safetensors", {.type = DType::F32});
  const auto report = verify(Checkpoint::open(folder / "in.safetensors"), Checkpoint::open(folder / "out.safetensors"));
  EXPECT_GT(report.tensors.front().relative_rmse, 1e-4);
  EXPECT_LT(report.tensors.front().relative_rmse, 0.01);
}

TEST(Convert, RefusesWhatTheTargetCantHold) {
  const TempFolder folder;
  for (const DType dtype : {DType::F8_E4M3, DType::BOOL, DType::U8, DType::C64, DType::F4}) {
    test::save(folder / "in.safetensors", {random_floats("fine", {2}, 1), random_bytes("culprit", dtype, {2, 32}, 1)});
    const Error error = error_of([&] { plan_conversion(folder / "in.safetensors", folder / "out.gguf"); });
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_EQ(error.detail().tensor, "culprit");
    EXPECT_NE(error.detail().hint.find("--to safetensors"), std::string::npos);
  }
  EXPECT_EQ(error_of([&] { plan_conversion(folder / "in.safetensors", folder / "out.bin"); }).code(),
            ErrorCode::invalid_argument);
  EXPECT_EQ(
      error_of([&] { plan_conversion(folder / "in.safetensors", folder / "o.gguf", {.type = DType::Q8_K}); }).code(),
      ErrorCode::invalid_argument);
}

TEST(Convert, NamesTheFirstNumberThatDoesNotFit) {
  const TempFolder folder;
  std::vector<float> values(4 * 65'536, 1.0F);
  values[200'000] = 70'000.0F;
  values[250'000] = std::numeric_limits<float>::quiet_NaN();
  test::save(folder / "in.safetensors", {floats("first", {4}, {1, 2, 3, 4}), floats("w", {4, 65'536}, values)});
  const std::uint64_t start = Checkpoint::open(folder / "in.safetensors").find("w")->offset;

  for (const unsigned threads : {1U, 2U, 7U}) {
    const Error range = error_of([&] {
      convert(folder / "in.safetensors", folder / "out.gguf",
              {.type = DType::F16, .memory = 1 << 20, .threads = threads});
    });
    EXPECT_EQ(range.code(), ErrorCode::value);
    EXPECT_EQ(range.detail().tensor, "w");
    EXPECT_EQ(range.detail().offset, start + 4 * 200'000);
    EXPECT_NE(std::string(range.what()).find("element 200000"), std::string::npos);
    const Error quantised = error_of(
        [&] { convert(folder / "in.safetensors", folder / "out.gguf", {.type = DType::Q8_0, .threads = threads}); });
    EXPECT_NE(std::string(quantised.what()).find("element 250000"), std::string::npos);
  }
  EXPECT_EQ(folder.names(), std::vector<std::string>{"in.safetensors"});
  EXPECT_NO_THROW(
      convert(folder / "in.safetensors", folder / "out.gguf", {.type = DType::F16, .nonfinite = Nonfinite::keep}));
  EXPECT_NO_THROW(convert(folder / "in.safetensors", folder / "out2.gguf", {.type = DType::BF16}));  // NaN stays NaN
}

TEST(Convert, RefusesToOverflowAScale) {
  const TempFolder folder;
  for (const auto& [type, fits, breaks] : std::vector<std::tuple<DType, float, float>>{
           {DType::Q8_0, 8'321'039.5F, 8'321'040.0F}, {DType::Q4_0, 524'159.97F, 524'160.0F}}) {
    std::vector<float> values(64, 1.0F);
    values[40] = -fits;
    test::save(folder / "in.safetensors", {floats("w", {2, 32}, values)});
    convert(folder / "in.safetensors", folder / "out.gguf", {.type = type, .force = true});
    const auto report = verify(Checkpoint::open(folder / "in.safetensors"), Checkpoint::open(folder / "out.gguf"));
    EXPECT_LT(report.tensors[0].relative_rmse, 0.1);
    values[40] = -breaks;
    test::save(folder / "in.safetensors", {floats("w", {2, 32}, values)});
    const auto job = [&] { convert(folder / "in.safetensors", folder / "out.gguf", {.type = type, .force = true}); };
    EXPECT_NE(std::string(error_of(job).what()).find("element 40 is too large for"), std::string::npos);
  }
}

TEST(Convert, LeavesOutMetadataThatGgufCannotHold) {
  const TempFolder folder;
  write_file(folder / "in.safetensors", std::string_view("\x1a\0\0\0\0\0\0\0{\"__metadata__\":{\"\":\"x\"}}  ", 34));
  EXPECT_EQ(Checkpoint::open(folder / "in.safetensors").metadata().size(), 1U);
  const Plan plan = plan_conversion(folder / "in.safetensors", folder / "out.gguf");
  EXPECT_EQ(plan.notes().size(), 1U);
  convert(plan);
  EXPECT_EQ(Checkpoint::open(folder / "out.gguf").metadata().size(), 2U);
}

TEST(Convert, RecordsOfShapesStayWhereTheyFit) {
  const TempFolder folder;
  Metadata metadata;
  metadata.set_i32_array("comfy.gguf.orig_shape.gone", std::vector<std::int32_t>{7, 7});
  metadata.set_i32_array("comfy.gguf.orig_shape.w", std::vector<std::int32_t>{2, 3, 1, 1, 4});
  const auto tensor = random_floats("w", {6, 1, 1, 4}, 1);
  test::save(folder / "in.gguf", {tensor}, metadata);
  convert(folder / "in.gguf", folder / "out.gguf", {.type = DType::F16});
  convert(folder / "out.gguf", folder / "back.safetensors");
  EXPECT_EQ(to_string(Checkpoint::open(folder / "back.safetensors").find("w")->shape), "[2, 3, 1, 1, 4]");
  EXPECT_FALSE(Checkpoint::open(folder / "out.gguf").metadata().find("comfy.gguf.orig_shape.gone"));
}

TEST(Convert, PlansThatDoNotFitTheBudgetAreRefusedBeforeTheyAreMade) {
  const TempFolder folder;
  Metadata metadata;
  metadata.set_string("large", std::string(3 << 20, 'x'));
  test::save(folder / "in.gguf", {random_floats("w", {4, 32}, 1)}, metadata);
  const auto plan = [&](std::uint64_t memory) {
    plan_conversion(folder / "in.gguf", folder / "out.gguf", {.type = DType::Q8_0, .memory = memory});
  };
  EXPECT_EQ(error_of([&] { plan(8 << 20); }).code(), ErrorCode::budget);
  EXPECT_NO_THROW(plan(16 << 20));
}

TEST(Convert, ProtectsInputsAndOutputs) {
  const TempFolder folder;
  test::save(folder / "in.gguf", {random_floats("w", {64, 256}, 1)});
  const auto before = read_file(folder / "in.gguf");
  std::filesystem::create_symlink("in.gguf", folder / "soft.gguf");
  std::filesystem::create_hard_link(folder / "in.gguf", folder / "hard.gguf");
  for (const char* name : {"in.gguf", "soft.gguf", "hard.gguf"}) {
    const Error error =
        error_of([&] { convert(folder / "in.gguf", folder / name, {.type = DType::F16, .force = true}); });
    EXPECT_EQ(error.code(), ErrorCode::conflict);
    EXPECT_NE(std::string(error.what()).find("is an input"), std::string::npos);
  }
  EXPECT_EQ(read_file(folder / "in.gguf"), before);
}

TEST(Convert, StopsWhenCancelledAndLeavesNothing) {
  const TempFolder folder;
  test::save(folder / "in.gguf", {random_floats("w", {4096, 1024}, 1)});
  const CancelToken before;
  before.cancel();
  EXPECT_EQ(error_of([&] { convert(folder / "in.gguf", folder / "out.gguf", {}, {}, before); }).code(),
            ErrorCode::cancelled);
  const CancelToken during;
  const auto stop = [&](const Progress&) { during.cancel(); };
  try {
    convert(folder / "in.gguf", folder / "out.gguf", {.type = DType::Q4_0, .memory = 4 << 20, .threads = 1}, stop,
            during);
    EXPECT_TRUE(std::filesystem::exists(folder / "out.gguf"));  // it was done before the first report
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
    EXPECT_EQ(folder.names(), std::vector<std::string>{"in.gguf"});
  }
}

TEST(Convert, AThrowingCallbackStopsTheJob) {
  const TempFolder folder;
  test::save(folder / "in.gguf", {random_floats("w", {64, 64}, 1)});
  const auto fail = [](const Progress&) { throw std::runtime_error("enough"); };
  EXPECT_THROW(convert(folder / "in.gguf", folder / "out.gguf", {}, fail), std::runtime_error);
  EXPECT_EQ(folder.names(), std::vector<std::string>{"in.gguf"});
}

TEST(Convert, RefusesABudgetThatIsTooSmall) {
  const TempFolder folder;
  test::save(folder / "in.gguf", {random_floats("w", {64, 64}, 1)});
  for (const std::uint64_t memory : {0U, 100U, 8'192U}) {
    EXPECT_EQ(error_of([&] {
                convert(folder / "in.gguf", folder / "out.gguf", {.type = DType::Q8_0, .memory = memory});
              }).code(),
              ErrorCode::budget);
  }
  EXPECT_EQ(folder.names(), std::vector<std::string>{"in.gguf"});
}

}  // namespace
}  // namespace headrace
