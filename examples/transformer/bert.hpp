// Bert: what a BERT's checkpoint has to hold, its units, and what each of them computes.
//
// A unit is what is on the device at once: the embeddings, a layer, the head. Nothing here knows how it came there.
#pragma once

#include "engine.hpp"

#include <headrace/headrace.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

class Bert {
 public:
  /// A tensor of the unit at hand, by its name in the checkpoint.
  using Weights = std::function<const headrace::LoadedTensor&(const std::string& name)>;

  /// Which of a checkpoint's tensors are wanted, and as what: there are other heads in it.
  static headrace::DiskMapOptions selection();

  /// Throws headrace::Error(conflict) when these aren't the tensors of a BERT of the sizes that the first ones have.
  explicit Bert(const headrace::DiskMap& map);

  /// The embeddings first, the head last.
  const std::vector<headrace::UnitSpec>& units() const noexcept { return units_; }
  cl_uint letters() const noexcept { return letters_; }
  cl_uint longest() const noexcept { return longest_; }

  /// What a unit makes of `x`, which the one before it has made; the head's are a row of scores per token.
  Matrix run(std::size_t unit, Engine& engine, const Weights& weights, std::span<const cl_uint> tokens,
             const Matrix& x) const;

 private:
  void add_unit(std::string name, const std::vector<headrace::TensorSpec>& tensors);

  cl_uint letters_ = 0, longest_ = 0;
  std::vector<headrace::UnitSpec> units_;
  std::vector<headrace::TensorSpec> specs_;
};
