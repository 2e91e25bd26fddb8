// LayerPruning: which tensors go and what the others are called then.
#include "plan/prune.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <limits>

namespace headrace::plan {
namespace {

TEST(Prune, LayersAreNumberedAnew) {
  const LayerPruning pruning({5, 3}, 8);
  EXPECT_EQ(pruning.kept_layers(), 6U);
  const std::vector<std::optional<std::string>> expected = {"blk.0.a", "blk.1.a", "blk.2.a", {},
                                                            "blk.3.a", {},        "blk.4.a", "blk.5.a"};
  for (std::size_t layer = 0; layer < expected.size(); ++layer)
    EXPECT_EQ(pruning.renamed("blk." + std::to_string(layer) + ".a"), expected[layer]);
}

TEST(Prune, OtherTensorsKeepTheirNames) {
  const LayerPruning pruning({0, 1}, 12);
  for (const char* name : {"output.weight", "token_embd.weight", "", "blk.", "blk.0", "blk..0.", "blk.x.weight",
                           "blk.-1.weight", "blk.99999999999.weight", "block.0.weight", "layers.0.weight"}) {
    EXPECT_EQ(pruning.renamed(name), name);
  }
}

TEST(Prune, TheNumberMayBeAnywhereAndOfAnyLength) {
  const LayerPruning pruning({2}, 12);
  EXPECT_EQ(pruning.renamed("dec.blk.10.attn_q.weight"), "dec.blk.9.attn_q.weight");
  EXPECT_EQ(pruning.renamed("enc.blk.2.attn_q.weight"), std::nullopt);
  EXPECT_EQ(pruning.renamed("blk.x.blk.3.weight"), "blk.x.blk.2.weight");
  EXPECT_EQ(pruning.renamed("blk.blk.3.weight"), "blk.blk.2.weight");
  EXPECT_EQ(pruning.renamed("blk.1.blk.2.weight"), "blk.1.blk.2.weight");  // the first counts
  EXPECT_EQ(pruning.renamed("blk.3."), "blk.2.");
}

TEST(Prune, RepeatedLayersCountOnce) {
  EXPECT_EQ(LayerPruning({1, 1, 1}, 3).kept_layers(), 2U);
  EXPECT_EQ(LayerPruning({}, 3).kept_layers(), 3U);
  EXPECT_EQ(LayerPruning({}, 3).renamed("blk.1.a"), "blk.1.a");
  EXPECT_EQ(LayerPruning({}, 0).kept_layers(), 0U);
}

TEST(Prune, LayersThatTheModelHasNotAreAnError) {
  constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
  EXPECT_THROW(LayerPruning({8}, 8), Error);
  EXPECT_THROW(LayerPruning({kMost, 0}, 8), Error);
  EXPECT_THROW(LayerPruning({0}, 0), Error);
  EXPECT_THROW(LayerPruning({1, 0, 2}, 3), Error);  // none would be left
  try {
    LayerPruning({2, 12}, 12);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_STREQ(error.what(), "layer 12 can't be left out: the model has 12; layers are numbered from 0");
  }
}

}  // namespace
}  // namespace headrace::plan
