#include "antibody.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace {

// [PAD], [UNK], [CLS], [SEP], [MASK], and twenty residues.
constexpr std::string_view kAlphabet = "..<>_ACDEFGHIKLMNPQRSTVWY";
constexpr std::uint32_t kFirstResidue = 5;
static_assert(kAlphabet.size() == kLetters);

std::uint32_t token_of(char letter) { return static_cast<std::uint32_t>(kAlphabet.find(letter)); }

}  // namespace

std::vector<std::uint32_t> tokens_of(std::string_view sequence) {
  if (sequence.find_first_not_of(kAlphabet.substr(token_of('_'))) != sequence.npos)
    throw std::invalid_argument("a sequence has the letters ACDEFGHIKLMNPQRSTVWY, and _ for what is masked");
  std::vector<std::uint32_t> tokens = {token_of('<')};
  for (const char letter : sequence) tokens.push_back(token_of(letter));
  tokens.push_back(token_of('>'));
  return tokens;
}

void print_residues(std::string_view sequence, std::span<const float> scores) {
  for (std::size_t i = 0; i < sequence.size(); ++i) {
    if (sequence[i] != '_') continue;
    const std::span<const float> mine = scores.subspan((i + 1) * kLetters, kLetters);  // after [CLS]
    const auto best = std::max_element(mine.begin() + kFirstResidue, mine.end());
    double all = 0;
    for (const float score : mine) all += std::exp(static_cast<double>(score) - static_cast<double>(*best));
    std::printf("residue %-3zu %c, probability %.3f\n", i + 1, kAlphabet[static_cast<std::size_t>(best - mine.begin())],
                1 / all);
  }
}
