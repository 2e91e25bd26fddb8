// Trying types on a tensor's pieces: guesses save work, and never change the answer.
#include "flow/trial.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <thread>
#include <vector>

namespace headrace::flow {
namespace {

constexpr std::uint64_t kPiece = std::uint64_t{1} << 17;
constexpr std::uint64_t kLook = std::uint64_t{1} << 20;  // after so many elements guesses are made

const std::vector<DType> kLadder = {DType::Q2_K, DType::Q4_K, DType::Q6_K, DType::F16};

/// What a type did on some elements: the sum of their squares is 1 each.
PieceErrors errors_of(double relative_rmse, std::uint64_t elements, double square = 1) {
  Difference sums;
  sums.squared = static_cast<long double>(square) * static_cast<long double>(elements);
  sums.squared_error = static_cast<long double>(relative_rmse) * relative_rmse * sums.squared;
  PieceErrors errors;
  errors.add(sums);
  return errors;
}

Trial trial_of(double limit, std::uint64_t elements, std::size_t first = 0, std::size_t sure = kLadder.size()) {
  return {kLadder, limit, elements, first, sure};
}

std::vector<std::size_t> worth_trying(const Trial& trial) {
  std::vector<std::size_t> types;
  for (std::size_t i = trial.next(0); i < trial.size(); i = trial.next(i + 1)) types.push_back(i);
  return types;
}

using Types = std::vector<std::size_t>;

TEST(Trial, TriesAllTypesUntilItHasSeenEnough) {
  Trial trial = trial_of(0.1, 4 * kLook);
  EXPECT_EQ(trial.size(), kLadder.size());
  EXPECT_EQ(trial.type(1), DType::Q4_K);
  EXPECT_EQ(worth_trying(trial), (Types{0, 1, 2, 3}));
  trial.add(0, errors_of(0.5, kLook - 1), kLook - 1);
  trial.add(1, errors_of(0.01, kLook - 1), kLook - 1);
  EXPECT_EQ(worth_trying(trial), (Types{0, 1, 2, 3}));
}

TEST(Trial, GivesUpWhatErrsTooMuch) {
  Trial trial = trial_of(0.1, 2 * kLook);
  trial.add(0, errors_of(0.5, kLook), kLook);
  trial.add(1, errors_of(0.12, kLook), kLook);  // may still become good enough
  EXPECT_EQ(worth_trying(trial), (Types{1, 2, 3}));
}

TEST(Trial, LetsWhatIsAboveAGoodTypeWait) {
  Trial trial = trial_of(0.1, 2 * kLook);
  trial.add(1, errors_of(0.05, kLook), kLook);
  EXPECT_EQ(worth_trying(trial), (Types{0, 1}));
  trial.add(1, errors_of(0.2, kLook), kLook);  // not so good after all
  EXPECT_EQ(worth_trying(trial), (Types{0, 2, 3}));
}

TEST(Trial, BeginsWhereItIsToldTo) { EXPECT_EQ(worth_trying(trial_of(0.1, kLook, 2)), (Types{2, 3})); }

TEST(Trial, NeverTriesAgainWhatFailed) {
  Trial trial = trial_of(1, kPiece, 0, 1);
  trial.fail(1);
  trial.fail(2);
  EXPECT_EQ(worth_trying(trial), (Types{0, 3}));
  trial.add(0, errors_of(2, kPiece), kPiece);
  trial.add(3, errors_of(0.5, kPiece), kPiece);
  EXPECT_TRUE(trial.complete(errors_of(2, kPiece), kPiece));
  std::size_t open = 0;
  EXPECT_EQ(trial.settled(open), 3);
}

TEST(Trial, TriesWhatMustBeSettledWhateverItDoes) {
  Trial trial = trial_of(0.1, 8 * kLook, 1, 1);
  trial.add(1, errors_of(0.9, kLook), kLook);
  EXPECT_EQ(worth_trying(trial), (Types{1, 2, 3}));
  trial.add(2, errors_of(0.01, kLook), kLook);
  EXPECT_EQ(worth_trying(trial), (Types{1, 2}));
}

TEST(Trial, KnowsTheLastPiece) {
  Trial trial = trial_of(0.1, 2 * kPiece + 32);
  EXPECT_FALSE(trial.complete(errors_of(0, kPiece), kPiece));
  EXPECT_FALSE(trial.complete(errors_of(0, 32), 32));
  EXPECT_TRUE(trial.complete(errors_of(0, kPiece), kPiece));
}

TEST(Trial, SettlesOnTheSmallestWithinTheLimit) {
  const auto settled_at = [](double limit) {
    Trial trial = trial_of(limit, kPiece);
    const double errors[] = {0.3, 0.1, 0.03, 0.001};
    for (std::size_t i = 0; i < trial.size(); ++i) trial.add(i, errors_of(errors[i], kPiece), kPiece);
    EXPECT_TRUE(trial.complete(errors_of(0, kPiece), kPiece));
    std::size_t open = 0;
    return trial.settled(open);
  };
  EXPECT_EQ(settled_at(1), 0);
  EXPECT_EQ(settled_at(0.2), 1);
  EXPECT_EQ(settled_at(0.05), 2);
  EXPECT_EQ(settled_at(0.002), 3);
  EXPECT_EQ(settled_at(0.0001), kLadder.size());
  EXPECT_EQ(settled_at(0), kLadder.size());
}

TEST(Trial, TakesZerosForExact) {
  Trial trial = trial_of(0, kPiece);
  trial.add(0, errors_of(0, kPiece, 0), kPiece);
  EXPECT_TRUE(trial.complete(errors_of(0, kPiece, 0), kPiece));
  std::size_t open = 0;
  EXPECT_EQ(trial.settled(open), 0);
}

TEST(Trial, NamesATypeThatWasNotTriedEnough) {
  Trial trial = trial_of(0.1, 2 * kLook);
  trial.add(0, errors_of(0.5, kLook), kLook);  // out, but all the rest is large and exact
  trial.add(1, errors_of(0.01, kLook), kLook);
  trial.add(1, errors_of(0, kLook, 100), kLook);
  EXPECT_FALSE(trial.complete(errors_of(0, kLook), kLook));
  EXPECT_TRUE(trial.complete(errors_of(0, kLook, 100), kLook));
  std::size_t open = 9;
  EXPECT_EQ(trial.settled(open), std::nullopt);
  EXPECT_EQ(open, 0);
}

TEST(Trial, KnowsWhatNoRestCanMakeGood) {
  Trial trial = trial_of(0.1, 2 * kLook);
  trial.add(0, errors_of(0.5, kLook), kLook);
  for (int half = 0; half < 2; ++half) {
    trial.add(1, errors_of(0.01, kLook), kLook);
    trial.complete(errors_of(0, kLook), kLook);
  }
  std::size_t open = 9;
  EXPECT_EQ(trial.settled(open), 1);  // the first wasn't tried on all, but was too far off already
}

TEST(Trial, AnErrorThatIsTheLimitIsWithinIt) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> some(0.001, 1);
  int within = 0;
  for (int i = 0; i < 1000; ++i) {
    Difference sums;
    sums.squared = some(random);
    sums.squared_error = sums.squared * some(random);
    PieceErrors errors;
    errors.add(sums);
    Trial trial = trial_of(errors.total().relative_rmse(), kPiece);
    trial.add(0, errors, kPiece);
    trial.complete(errors, kPiece);
    std::size_t open = 0;
    within += trial.settled(open) == 0 ? 1 : 0;
  }
  EXPECT_EQ(within, 1000);
}

/// A tensor, as far as trials see it: for each piece the mean square of its numbers and the error of each type.
struct Pieces {
  std::vector<double> squares;
  std::vector<std::vector<double>> errors;
  std::vector<bool> fails;  // of the types

  std::uint64_t elements() const { return squares.size() * kPiece; }
};

Pieces random_pieces(std::mt19937& random) {
  std::uniform_real_distribution<double> unit(0, 1);
  Pieces pieces{{}, {}, std::vector<bool>(kLadder.size())};
  for (std::size_t i = 0; i < kLadder.size(); ++i) pieces.fails[i] = unit(random) < 0.1;
  const std::size_t count = 1 + random() % 60;
  double square = 1, factor = 1;
  for (std::size_t i = 0; i < count; ++i) {
    if (unit(random) < 0.1) square = unit(random) < 0.2 ? 0 : std::exp2(12 * unit(random) - 6);
    if (unit(random) < 0.1) factor = std::exp2(6 * unit(random) - 4);
    pieces.squares.push_back(square);
    auto& errors = pieces.errors.emplace_back();
    for (const double typical : {0.3, 0.1, 0.03, 0.001}) errors.push_back(typical * factor * (0.5 + unit(random)));
  }
  return pieces;
}

/// The first type within the limit, having tried all on everything.
std::size_t right_type(const Pieces& pieces, double limit) {
  for (std::size_t type = 0; type < kLadder.size(); ++type) {
    PieceErrors sums;
    for (std::size_t i = 0; i < pieces.squares.size(); ++i)
      sums.add(errors_of(pieces.errors[i][type], kPiece, pieces.squares[i]));
    if (!pieces.fails[type] && sums.total().relative_rmse() <= limit) return type;
  }
  return kLadder.size();
}

/// One look at all pieces, by so many threads.
void look(const Pieces& pieces, Trial& trial, std::size_t threads) {
  std::vector<std::thread> workers;
  for (std::size_t worker = 0; worker < threads; ++worker) {
    workers.emplace_back([&, worker] {
      for (std::size_t i = worker; i < pieces.squares.size(); i += threads) {
        for (std::size_t type = trial.next(0); type < trial.size(); type = trial.next(type + 1)) {
          if (pieces.fails[type]) {
            trial.fail(type);
          } else {
            trial.add(type, errors_of(pieces.errors[i][type], kPiece, pieces.squares[i]), kPiece);
          }
        }
        trial.complete(errors_of(0, kPiece, pieces.squares[i]), kPiece);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
}

TEST(Trial, GuessesNeverChangeTheAnswer) {
  std::mt19937 random(2);
  std::size_t looks = 0;
  constexpr std::size_t kTensors = 600;
  for (std::size_t tensor = 0; tensor < kTensors; ++tensor) {
    const Pieces pieces = random_pieces(random);
    const double limit = std::exp2(-static_cast<double>(random() % 1100) / 100);
    const std::size_t threads = 1 + tensor % 3;
    std::size_t first = 0, sure = kLadder.size();
    std::optional<std::size_t> settled;
    for (std::size_t round = 0; !settled; ++round) {
      ASSERT_LE(round, kLadder.size()) << "tensor " << tensor;
      Trial trial = trial_of(limit, pieces.elements(), first, sure);
      look(pieces, trial, threads);
      std::size_t open = kLadder.size();
      settled = trial.settled(open);
      if (!settled) first = sure = open;
      ++looks;
    }
    ASSERT_EQ(*settled, right_type(pieces, limit)) << "tensor " << tensor << ", limit " << limit;
  }
  EXPECT_GT(looks, kTensors);      // some guesses were wrong, so that this tests something
  EXPECT_LT(looks, 2 * kTensors);  // and most were right
}

}  // namespace
}  // namespace headrace::flow
