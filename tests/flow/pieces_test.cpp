// Every element of a plan is handed out once, in whole blocks, within the sizes allowed.
#include "flow/pieces.hpp"

#include "plan/draft.hpp"
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/convert.hpp>

#include <gtest/gtest.h>

#include <map>

namespace headrace::flow {
namespace {

using test::random_floats;

TEST(PieceQueue, CoversEveryTensorOnce) {
  const test::TempFolder folder;
  std::vector<test::TestTensor> tensors = {random_floats("huge_row", {1, 320'032}, 1),
                                           random_floats("wide", {700, 96}, 2), random_floats("empty", {0, 32}, 3),
                                           random_floats("scalar", {}, 4)};
  for (unsigned i = 0; i < 300; ++i) tensors.push_back(random_floats("small." + std::to_string(i), {i % 7, 32}, i));
  test::save(folder / "in.safetensors", tensors);

  for (const auto type : {std::optional<DType>{}, std::optional(DType::Q8_0), std::optional(DType::BF16)}) {
    const Plan plan = plan_conversion(folder / "in.safetensors", folder / "out.gguf", {.type = type});
    const PieceSizes sizes{64 << 10, 256 << 10};
    PieceQueue queue(plan.impl(), sizes);
    std::map<std::uint32_t, std::uint64_t> done;
    std::uint64_t number = 0;
    bool together = false;
    while (const auto piece = queue.next()) {
      EXPECT_EQ(piece->number, number++);
      together = together || piece->tensors.size() > 1;
      std::uint64_t bytes = 0;
      for (const std::uint32_t i : piece->tensors) {
        const TensorInfo& to = plan.impl().tensors[i];
        const std::uint64_t elements = piece->tensors.size() > 1 ? to.elements : piece->elements;
        EXPECT_EQ(done[i], piece->tensors.size() > 1 ? 0 : piece->first_element);
        EXPECT_EQ(elements % info(to.dtype).block_elements, 0U);
        done[i] += elements;
        bytes += *bytes_of(to.dtype, elements) + *bytes_of(plan.impl().source_of(i).dtype, elements);
      }
      EXPECT_LE(bytes, type ? sizes.converted : 2 * sizes.copied);
    }
    EXPECT_TRUE(together);
    ASSERT_EQ(done.size(), tensors.size());
    for (const auto& [i, elements] : done) EXPECT_EQ(elements, plan.impl().tensors[i].elements);
  }
}

TEST(PieceQueue, HandsOutNothingAfterStop) {
  const test::TempFolder folder;
  test::save(folder / "in.safetensors", {random_floats("a", {1000, 320}, 1)});
  const Plan plan = plan_conversion(folder / "in.safetensors", folder / "out.gguf", {.type = DType::Q8_0});
  PieceQueue queue(plan.impl(), {64 << 10, 64 << 10});
  EXPECT_TRUE(queue.next());
  queue.stop();
  EXPECT_FALSE(queue.next());
}

TEST(PieceSizes, StayWithinMemoryAndCache) {
  EXPECT_EQ(piece_sizes(std::uint64_t{1} << 30, 2, false).converted, 1U << 20);
  EXPECT_EQ(piece_sizes(std::uint64_t{1} << 20, 4, false).converted, 128U << 10);
  EXPECT_EQ(piece_sizes(0, 1, false).converted, 64U << 10);
  EXPECT_EQ(piece_sizes(std::uint64_t{1} << 30, 2, true).converted, 8U << 20);  // requests cost more than a cache
}

}  // namespace
}  // namespace headrace::flow
