#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

namespace headrace {
namespace {

using test::random_bytes;
using test::random_floats;
using test::TempFolder;

test::TestTensor doubles(std::string name, std::vector<double> values) {
  test::TestTensor tensor{{std::move(name), DType::F64, {values.size()}}, {}};
  const auto bytes = std::as_bytes(std::span(values));
  tensor.bytes.assign(bytes.begin(), bytes.end());
  return tensor;
}

VerifyReport verify_models(const std::vector<test::TestTensor>& a, const std::vector<test::TestTensor>& b,
                           const VerifyOptions& options = {}) {
  const TempFolder folder;
  test::save(folder / "a.safetensors", a);
  test::save(folder / "b.safetensors", b);
  return verify(Checkpoint::open(folder / "a.safetensors"), Checkpoint::open(folder / "b.safetensors"), options);
}

TEST(Verify, KnowsEveryOutcome) {
  const auto shared = random_floats("shared", {4, 4}, 1);
  const auto report = verify_models(
      {shared, random_floats("gone", {2}, 2), random_floats("shape", {2, 3}, 3),
       random_bytes("type", DType::C64, {2}, 4), random_bytes("bits", DType::C64, {2}, 5),
       doubles("numbers", {1, 2, 2})},
      {shared, random_floats("new", {2}, 2), random_floats("shape", {3, 2}, 3), random_floats("type", {2}, 4),
       random_bytes("bits", DType::C64, {2}, 6), doubles("numbers", {1, 2.5, 2})});
  std::map<std::string, TensorComparison> rows;
  for (const auto& row : report.tensors) rows.emplace(row.name, row);
  ASSERT_EQ(rows.size(), 7U);
  EXPECT_EQ(rows.at("shared").match, Match::identical);
  EXPECT_EQ(rows.at("gone").match, Match::only_in_first);
  EXPECT_EQ(rows.at("new").match, Match::only_in_second);
  EXPECT_EQ(rows.at("shape").match, Match::shape_differs);
  EXPECT_EQ(rows.at("type").match, Match::type_differs);
  EXPECT_EQ(rows.at("bits").match, Match::bytes_differ);
  EXPECT_EQ(rows.at("numbers").match, Match::compared);
  EXPECT_DOUBLE_EQ(rows.at("numbers").max_error, 0.5);
  EXPECT_DOUBLE_EQ(rows.at("numbers").relative_rmse, std::sqrt(0.25 / 9));
  EXPECT_FALSE(report.same(1e9));
  EXPECT_FALSE(report.files_identical);
}

TEST(Verify, TreatsNonfiniteNumbersAsPeopleWould) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(
      verify_models({doubles("x", {nan, inf, -inf, 1})}, {doubles("x", {-nan, inf, -inf, 1})}).tensors[0].max_error, 0);
  EXPECT_EQ(verify_models({doubles("x", {nan, 1})}, {doubles("x", {0, 1})}).tensors[0].max_error, inf);
  EXPECT_EQ(verify_models({doubles("x", {inf, 1})}, {doubles("x", {-inf, 1})}).tensors[0].max_error, inf);
  EXPECT_FALSE(verify_models({doubles("x", {nan, 1})}, {doubles("x", {0, 1})}).same(0.5));
  EXPECT_EQ(verify_models({doubles("x", {0, 0})}, {doubles("x", {0, 1})}).tensors[0].relative_rmse, inf);
}

TEST(Verify, TellsLargeIntegersAndExtremeDoublesApart) {
  auto a = random_bytes("ids", DType::I64, {1}, 1), b = a;
  const std::int64_t large = std::int64_t{1} << 53, next = large + 1;
  std::memcpy(a.bytes.data(), &large, sizeof large);
  std::memcpy(b.bytes.data(), &next, sizeof next);
  EXPECT_EQ(verify_models({a}, {b}).tensors[0].max_error, 1);
  for (const double scale : {1e200, 1e-200}) {
    const auto row = verify_models({doubles("x", {scale, scale})}, {doubles("x", {scale, 1.5 * scale})}).tensors[0];
    EXPECT_NEAR(row.relative_rmse, 0.5 / std::sqrt(2.0), 1e-12) << scale;
  }
}

TEST(Verify, FiguresDoNotDependOnThreadsOrMemory) {
  const auto a = random_floats("w", {333, 1001}, 1), b = random_floats("w", {333, 1001}, 2);
  const auto expected = verify_models({a}, {b}, {.threads = 1}).tensors[0];
  EXPECT_NEAR(expected.relative_rmse, std::sqrt(2.0), 0.01);
  for (const unsigned threads : {2U, 7U}) {
    const auto row = verify_models({a}, {b}, {.memory = 4 << 20, .threads = threads}).tensors[0];
    EXPECT_EQ(row.relative_rmse, expected.relative_rmse);
    EXPECT_EQ(row.max_error, expected.max_error);
  }
}

TEST(Verify, SeesOneChangedByteAnywhere) {
  const auto original = random_bytes("w", DType::U8, {3'000'000}, 1);
  for (const std::size_t at : {std::size_t{0}, std::size_t{1'500'000}, std::size_t{2'999'999}}) {
    auto changed = original;
    changed.bytes[at] ^= std::byte{1};
    const auto report = verify_models({original}, {changed});
    EXPECT_FALSE(report.files_identical);
    EXPECT_EQ(report.tensors[0].match, Match::compared);
    EXPECT_EQ(report.tensors[0].max_error, 1);
  }
  EXPECT_TRUE(verify_models({original}, {original}).files_identical);
}

}  // namespace
}  // namespace headrace
