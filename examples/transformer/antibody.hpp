// Antibody: a sequence of residues as a model's tokens, and its scores as residues.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

/// [CLS], a token a residue, [SEP]; '_' is one that is masked. Throws std::invalid_argument for other characters.
std::vector<std::uint32_t> tokens_of(std::string_view sequence);

/// Tokens that there are.
inline constexpr std::uint32_t kLetters = 25;

/// Of each '_': where it is, the likeliest residue, and how likely. `scores`: kLetters of each token.
void print_residues(std::string_view sequence, std::span<const float> scores);
