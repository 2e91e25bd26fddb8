#include "format/ledger.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace headrace::format {
namespace {

TensorInfo tensor(std::string_view name, std::uint64_t bytes) {
  TensorInfo info;
  info.name = name;
  info.bytes = bytes;
  return info;
}

TEST(Ledger, AcceptsAnyOrderAndCompletes) {
  const std::vector<TensorInfo> tensors = {tensor("a", 1000), tensor("empty", 0)};
  std::vector<std::uint64_t> starts;
  for (std::uint64_t at = 0; at < 1000; at += 10) starts.push_back(at);
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::shuffle(starts.begin(), starts.end(), std::mt19937(seed));
    Ledger ledger(tensors);
    EXPECT_THROW(ledger.require_complete("f"), Error);
    for (const std::uint64_t at : starts) ledger.claim(0, at, 10, "f");
    EXPECT_NO_THROW(ledger.require_complete("f"));
    EXPECT_THROW(ledger.claim(0, 500, 1, "f"), Error);
  }
}

TEST(Ledger, RefusesOverlapAndOverrun) {
  const std::vector<TensorInfo> tensors = {tensor("a", 100)};
  Ledger ledger(tensors);
  ledger.claim(0, 40, 20, "f");
  for (const auto& [first, count] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {40, 20}, {30, 11}, {59, 1}, {45, 5}, {0, 100}, {100, 1}, {0, 101}, {~0ULL, 2}}) {
    EXPECT_THROW(ledger.claim(0, first, count, "f"), Error) << first << " + " << count;
  }
  EXPECT_NO_THROW(ledger.claim(0, 60, 40, "f"));
  EXPECT_NO_THROW(ledger.claim(0, 0, 40, "f"));
  EXPECT_NO_THROW(ledger.claim(0, 100, 0, "f"));
  EXPECT_NO_THROW(ledger.require_complete("f"));
}

TEST(Ledger, NamesWhatIsMissing) {
  const std::vector<TensorInfo> tensors(8, tensor("w", 4));
  const Ledger ledger(tensors);
  try {
    ledger.require_complete("out.gguf");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("out.gguf: tensors are incomplete: 'w' (0 of 4 bytes)"),
              std::string::npos);
    EXPECT_NE(std::string(error.what()).find("and 3 more"), std::string::npos);
  }
}

}  // namespace
}  // namespace headrace::format
