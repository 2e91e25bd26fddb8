// The floating-point mode that codecs rely on.
#pragma once

namespace headrace::base {

/// For its life, this thread rounds to nearest even, keeps denormals and raises no traps, whatever the host program
/// set (torch switches denormals off, and new threads inherit that).
class FloatMode {
 public:
  FloatMode() noexcept;
  ~FloatMode();
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
  unsigned saved_;
};

}  // namespace headrace::base
