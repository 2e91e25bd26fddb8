// What is learned from the order of use.
#include "residency/order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace headrace::residency {
namespace {

std::vector<std::uint32_t> first(const Order& order, std::size_t n) {
  const auto upcoming = order.upcoming();
  return {upcoming.begin(), upcoming.begin() + static_cast<std::ptrdiff_t>(std::min(n, upcoming.size()))};
}

TEST(OrderTest, NothingIsKnownInTheFirstPass) {
  Order order(4);
  for (std::uint32_t unit = 0; unit < 4; ++unit) {
    order.used(unit);
    EXPECT_TRUE(order.upcoming().empty());
    EXPECT_EQ(order.next_use(unit), kNever);
  }
  EXPECT_EQ(order.period(), 0U);
}

TEST(OrderTest, TheSecondPassIsExpectedToBeLikeTheFirst) {
  Order order(4);
  for (const std::uint32_t unit : {2U, 0U, 3U, 1U, 2U}) order.used(unit);
  EXPECT_EQ(first(order, 9), (std::vector<std::uint32_t>{0, 3, 1, 2}));
  EXPECT_EQ(order.next_use(0), 1U);
  EXPECT_EQ(order.next_use(2), 4U);  // it was used just now
  EXPECT_EQ(order.period(), 4U);
}

TEST(OrderTest, AUnitUsedTwiceInAPassHasASuccessorForEach) {
  Order order(5);
  for (int pass = 0; pass < 2; ++pass) {
    for (const std::uint32_t unit : {0U, 1U, 2U, 0U, 3U, 4U}) order.used(unit);
  }
  order.used(0);
  EXPECT_EQ(first(order, 1), std::vector<std::uint32_t>{1});
  order.used(1);
  order.used(2);
  order.used(0);
  EXPECT_EQ(first(order, 2), (std::vector<std::uint32_t>{3, 4}));
}

TEST(OrderTest, AHintStandsInForTheFirstPass) {
  Order order(3);
  order.hint(std::vector<std::uint32_t>{2, 1, 0});
  EXPECT_EQ(first(order, 3), (std::vector<std::uint32_t>{2, 1, 0}));
  order.used(2);
  EXPECT_EQ(first(order, 3), (std::vector<std::uint32_t>{1, 0, 2}));
}

TEST(OrderTest, RandomOrdersAreNotTrustedAndRegularOnesAreAgain) {
  Order order(64);
  std::mt19937 random(1);
  for (int i = 0; i < 40'000; ++i) order.used(static_cast<std::uint32_t>(random() % 64));  // more than it keeps
  EXPECT_FALSE(order.trusted());
  for (int pass = 0; pass < 4; ++pass) {
    for (std::uint32_t unit = 0; unit < 64; ++unit) order.used(unit);
  }
  EXPECT_TRUE(order.trusted());
  EXPECT_EQ(first(order, 2), (std::vector<std::uint32_t>{0, 1}));
}

}  // namespace
}  // namespace headrace::residency
