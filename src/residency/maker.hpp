// Maker: makes what is held of a unit, piece by piece, from the nearest that there is of it.
#pragma once

#include "residency/kits.hpp"
#include "residency/spares.hpp"
#include "residency/trace.hpp"
#include "residency/unit.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace headrace::residency {

/// What to make a unit from: the first of these that there is, else its map.
struct Material {
  const Form* kept = nullptr;  // on the device, at the unit's device level
  const Form* host = nullptr;  // at the unit's host level
};

/// What to make of it; null: not that. All in one pass over its bytes.
struct Wanted {
  Form* host = nullptr;
  Form* kept = nullptr;
  Form* computation = nullptr;
  bool only_differing = false;  // of computation: tensors that have another type on the device
};

/// Thread-safe.
class Maker {
 public:
  /// `spares`: gives the device's memory; outlives this.
  Maker(std::shared_ptr<Device> device, Spares& spares, const ResidencyOptions& options, unsigned threads,
        Trace& trace);

  /// Fills the forms that are wanted; all of their bytes have arrived when it returns. `check` is called before every
  /// piece, and ends it by throwing. Throws Error, naming the tensor: io, format, value, no_space, cancelled. After a
  /// throw the forms have what was made of them.
  void make(const Unit& unit, std::uint32_t number, const Material& material, const Wanted& wanted,
            const std::function<void()>& check);

  std::uint64_t bytes_read() const noexcept { return bytes_read_; }
  std::uint64_t bytes_uploaded() const noexcept { return bytes_uploaded_; }

 private:
  class Pass;

  const std::shared_ptr<Device> device_, host_;
  Spares& spares_;
  const Nonfinite nonfinite_;
  Kits kits_;
  Trace& trace_;
  std::atomic<std::uint64_t> bytes_read_{0}, bytes_uploaded_{0};
};

}  // namespace headrace::residency
