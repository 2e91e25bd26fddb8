// Any bytes as the numbers of any type: read, made, and turned into another type.
//
// The first four bytes choose: the type to read, the type to make, a set of vector instructions, and whether to check
// the numbers (bit 0) and to shift them off their alignment (bit 1). The rest is data. Types are chosen by their
// number, not by their row in the table, so that an input means the same when a row is added.
#include "codec/codec.hpp"
#include "codec/kernel.hpp"

#include <headrace/dtype.hpp>

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace headrace::codec {
namespace {

constexpr std::byte kGuard{0xA5};

/// Ends the run when `truth` isn't one, saying `what` of which type.
void require(bool truth, const char* what, DType dtype) {
  if (truth) return;
  std::fprintf(stderr, "%s: %s\n", std::string(name(dtype)).c_str(), what);
  std::abort();
}

/// Both have the size that belongs to `dtype`, or to so many float32.
void require_same(std::span<const std::byte> a, std::span<const std::byte> b, const char* what, DType dtype) {
  const auto [at, other] = std::ranges::mismatch(a, b);
  if (at == a.end() && other == b.end()) return;
  std::fprintf(stderr, "byte %zu of %zu, %s\n", static_cast<std::size_t>(at - a.begin()), a.size(),
               hwy::TargetName(hwy::SupportedTargets() & -hwy::SupportedTargets()));
  require(false, what, dtype);
}

const Row* row_numbered(std::uint8_t number) { return find_row(static_cast<DType>(number % all_dtypes().size())); }

void choose_target(std::uint8_t number) {
  static const std::vector<std::int64_t> targets = hwy::SupportedAndGeneratedTargets();
  hwy::SetSupportedTargetsForTest(targets[number % targets.size()]);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

std::size_t bytes_for(DType dtype, std::size_t elements) {
  return static_cast<std::size_t>(bytes_of(dtype, elements).value());
}

/// Whole granules in so many bytes of a type.
std::size_t elements_in(DType dtype, std::size_t bytes, std::size_t granule) {
  const DTypeInfo& type = info(dtype);
  const std::size_t elements = bytes / type.block_bytes * type.block_elements;
  return elements / granule * granule;
}

/// A buffer for what a kernel writes, `shift` bytes off its alignment: full of something else before, and with a byte
/// after it that must not change.
class Output {
 public:
  Output(std::size_t bytes, std::size_t shift, std::byte fill) : bytes_(shift + bytes + 1, fill), shift_(shift) {
    bytes_.back() = kGuard;
  }
  std::byte* data() { return bytes_.data() + shift_; }
  std::span<const std::byte> written() const {
    if (bytes_.back() != kGuard) std::abort();
    return std::span(bytes_).subspan(shift_, bytes_.size() - shift_ - 1);
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t shift_;
};

std::vector<float> decoded(DecodeFn decode, const std::byte* src, std::size_t elements, float fill) {
  std::vector<float> numbers(elements, fill);
  decode(src, numbers.data(), elements);
  return numbers;
}

/// Reading: the same numbers from both kernels, whatever was in the buffer before.
void check_decode(const Row& row, const std::byte* data, std::size_t bytes) {
  const std::size_t elements = elements_in(row.dtype, bytes, info(row.dtype).block_elements);
  const std::vector<float> scalar = decoded(row.scalar.decode, data, elements, 0);
  const std::vector<float> fast = decoded(row.fast.decode, data, elements, 1);
  require_same(std::as_bytes(std::span(scalar)), std::as_bytes(std::span(fast)), "read otherwise by the fast kernel",
               row.dtype);
  decoded(row.decode_odd, data, elements, 0);
}

/// The same with weights: the numbers' own magnitudes, turned around, where they are finite, and else zero.
void check_encode_weighted(const Row& row, std::span<const float> numbers, std::size_t shift) {
  std::vector<float> importance(numbers.size()), squares(numbers.size() / 32);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const float magnitude = std::fabs(numbers[numbers.size() - 1 - i]);
    importance[i] = magnitude < 1e20F ? magnitude : 0.0F;
  }
  for (std::size_t i = 0; i < squares.size(); ++i) squares[i] = numbers[i * 32] * numbers[i * 32];
  const Weights weights{importance.data(), squares.data()};
  Output scalar(bytes_for(row.dtype, numbers.size()), shift, std::byte{0x00});
  Output fast(bytes_for(row.dtype, numbers.size()), shift, std::byte{0xFF});
  row.scalar.encode_weighted(numbers.data(), weights, scalar.data(), numbers.size());
  row.fast.encode_weighted(numbers.data(), weights, fast.data(), numbers.size());
  require_same(scalar.written(), fast.written(), "made otherwise by the fast kernel with weights", row.dtype);
}

/// Making: the same bytes from both kernels, out of any float there is.
void check_encode(const Row& row, const std::byte* data, std::size_t bytes, std::size_t shift) {
  if (row.fast.encode == nullptr) return;
  const std::size_t elements = elements_in(DType::F32, bytes, info(row.dtype).block_elements);
  std::vector<float> numbers(elements);
  if (elements != 0) std::memcpy(numbers.data(), data, elements * sizeof(float));
  Output scalar(bytes_for(row.dtype, elements), shift, std::byte{0x00});
  Output fast(bytes_for(row.dtype, elements), shift, std::byte{0xFF});
  row.scalar.encode(numbers.data(), scalar.data(), elements);
  row.fast.encode(numbers.data(), fast.data(), elements);
  require_same(scalar.written(), fast.written(), "made otherwise by the fast kernel", row.dtype);
  check_decode(row, fast.data(), fast.written().size());
  if (row.fast.encode_weighted != nullptr) check_encode_weighted(row, numbers, shift);
}

std::vector<std::byte> expected(const Row& from, const Row& to, const std::byte* data, std::size_t elements) {
  std::vector<std::byte> bytes(bytes_for(to.dtype, elements));
  if (elements == 0) return bytes;
  if (from.dtype == to.dtype) {
    std::memcpy(bytes.data(), data, bytes.size());
    return bytes;
  }
  const bool rounds_again = is_float(to.dtype) && info(to.dtype).block_bytes < sizeof(float);
  const DecodeFn decode = rounds_again ? from.decode_odd : from.scalar.decode;
  to.scalar.encode(decoded(decode, data, elements, 0).data(), bytes.data(), elements);
  return bytes;
}

/// What was found bad is the first that is, also when there is less before and after it.
void check_bad_value(const Transcoder& transcoder, const Row& from, const std::byte* data, std::byte* out,
                     std::size_t elements, const BadValue& bad) {
  const auto must = [&from](bool truth) { require(truth, "a bad value that isn't the first, or is none", from.dtype); };
  must(bad.element < elements);
  const std::size_t granule = transcoder.granule();
  const std::size_t before = bad.element / granule * granule;
  must(!transcoder.run(data, out, before));
  const std::optional<BadValue> again = transcoder.run(data + bytes_for(from.dtype, before), out, granule);
  must(again && before + again->element == bad.element);
  must(std::memcmp(&again->value, &bad.value, sizeof bad.value) == 0);
}

void check_transcode(const Row& from, const Row& to, bool check, const std::byte* data, std::size_t bytes,
                     std::size_t shift) {
  if (to.fast.encode == nullptr && from.dtype != to.dtype) return;
  const Transcoder transcoder(from.dtype, to.dtype, check);
  const std::size_t elements = elements_in(from.dtype, bytes, transcoder.granule());
  Output out(bytes_for(to.dtype, elements), shift, std::byte{0x5A});
  const std::optional<BadValue> bad = transcoder.run(data, out.data(), elements);
  require(check || !bad, "found bad unasked", from.dtype);
  if (bad) {
    check_bad_value(transcoder, from, data, out.data(), elements, *bad);
    (void)out.written();
    const bool unasked = Transcoder(from.dtype, to.dtype, false).run(data, out.data(), elements).has_value();
    require(!unasked, "found bad unasked", from.dtype);
  }
  require_same(out.written(), expected(from, to, data, elements), "not what both scalar kernels make", to.dtype);
}

}  // namespace
}  // namespace headrace::codec

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace headrace::codec;
  constexpr std::size_t kChoices = 4;
  if (size < kChoices) return -1;
  const Row* from = row_numbered(data[0]);
  const Row* to = row_numbered(data[1]);
  if (from == nullptr || to == nullptr) return -1;  // a type without a codec is no use in the corpus
  choose_target(data[2]);
  const bool check = (data[3] & 1) != 0;
  const std::size_t shift = (data[3] & 2) != 0 ? 1 : 0;

  std::vector<std::byte> bytes(shift + size - kChoices);  // of exactly that size: the sanitizer sees a byte too far
  if (size > kChoices) std::memcpy(bytes.data() + shift, data + kChoices, size - kChoices);
  const std::byte* const numbers = bytes.data() + shift;
  check_decode(*from, numbers, size - kChoices);
  check_encode(*to, numbers, size - kChoices, shift);
  check_transcode(*from, *to, check, numbers, size - kChoices, shift);
  return 0;
}
