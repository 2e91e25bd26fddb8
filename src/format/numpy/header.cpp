#include "format/numpy/header.hpp"

#include "base/checked.hpp"
#include "format/numpy/literal.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>
#include <headrace/tensor.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace headrace::format::numpy {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kSignature = "\x93NUMPY";

[[noreturn]] void refuse(ErrorCode code, const HeaderPlace& place, std::string problem, std::string expected = {},
                         std::string found = {}, std::string hint = {}) {
  throw Error(code, std::move(problem),
              {.file = place.file,
               .tensor = printable(place.array),
               .offset = place.offset,
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = std::move(hint)});
}

struct Known {
  std::string_view code;
  DType dtype;
};

constexpr std::array kKnown = {
    Known{"b1", DType::BOOL}, Known{"i1", DType::I8},  Known{"u1", DType::U8},  Known{"i2", DType::I16},
    Known{"u2", DType::U16},  Known{"f2", DType::F16}, Known{"i4", DType::I32}, Known{"u4", DType::U32},
    Known{"f4", DType::F32},  Known{"i8", DType::I64}, Known{"u8", DType::U64}, Known{"f8", DType::F64},
    Known{"c8", DType::C64},
};

struct Refused {
  char kind;
  std::string_view what;
  std::string_view hint;
};

constexpr std::array kRefused = {
    Refused{'O', "Python objects (a pickle, which Headrace never runs)", "save an array of numbers"},
    Refused{'U', "text", ""},
    Refused{'S', "text", ""},
    Refused{'a', "text", ""},
    Refused{'M', "dates", ""},
    Refused{'m', "spans of time", ""},
    Refused{'c', "complex numbers of other than twice 32 bits", "convert it with .astype('complex64')"},
    Refused{'f', "numbers of a width that isn't 2, 4 or 8 bytes", "convert it with .astype('float32')"},
    Refused{'V', "elements of unknown meaning",
            "NumPy can't say in its files that an array is bfloat16 or float8: save it as safetensors, or convert it "
            "with .astype('float32')"},
};

// "<f4": byte order, kind, bytes. Without an order it is this machine's.
void parse_descr(std::string_view descr, const HeaderPlace& place, ArrayHeader& header) {
  const bool ordered = descr.find_first_of("<>=|") == 0;
  const char order = ordered ? descr.front() : '=';
  const std::string_view code = descr.substr(ordered ? 1 : 0);
  const auto known = std::ranges::find(kKnown, code, &Known::code);
  if (known != kKnown.end()) {
    const std::uint16_t bytes = info(known->dtype).block_bytes;
    if (order == '|' && bytes > 1)
      refuse(ErrorCode::format, place, "the array's type has no byte order", "'<' or '>'", printable(descr));
    header.dtype = known->dtype;
    header.big_endian = order == '>' && bytes > 1;
    return;
  }
  const auto refused = std::ranges::find(kRefused, code.empty() ? '\0' : code.front(), &Refused::kind);
  if (refused != kRefused.end()) {
    refuse(ErrorCode::unsupported, place, fmt::format("the array holds {}", refused->what), "numbers",
           fmt::format("'{}'", printable(descr)), std::string(refused->hint));
  }
  refuse(ErrorCode::unsupported, place, "the array's type is unknown", "a type such as '<f4' or '|u1'",
         fmt::format("'{}'", printable(descr)));
}

void measure(const HeaderPlace& place, ArrayHeader& header) {
  const auto elements = base::checked_product(header.shape);
  const auto bytes = elements ? bytes_of(header.dtype, *elements) : std::nullopt;
  if (!bytes) {
    refuse(ErrorCode::format, place, "the array's size doesn't fit 64 bits", {},
           fmt::format("{} of {}", to_string(header.shape), name(header.dtype)));
  }
  header.elements = *elements;
  header.bytes = *bytes;
}

}  // namespace

std::size_t header_length(std::span<const std::byte> preamble, const HeaderPlace& place) {
  if (std::memcmp(preamble.data(), kSignature.data(), kSignature.size()) != 0)
    refuse(ErrorCode::format, place, "this is no NumPy array", "the signature \\x93NUMPY");
  const auto byte = [&](std::size_t i) { return static_cast<unsigned>(preamble[i]); };
  const unsigned major = byte(6), minor = byte(7);
  if (major < 1 || major > 3 || minor != 0) {
    refuse(ErrorCode::unsupported, place, "this version of NumPy's format isn't known", "1.0, 2.0 or 3.0",
           fmt::format("{}.{}", major, minor));
  }
  const std::size_t before = major == 1 ? 10 : 12;
  std::size_t length = byte(8) | byte(9) << 8;
  if (major > 1) length |= std::size_t{byte(10)} << 16 | std::size_t{byte(11)} << 24;
  if (length < 2 || length > kMostHeader - before) {
    refuse(ErrorCode::format, place, "the array's header has an impossible length",
           fmt::format("2 to {} bytes", kMostHeader - before), fmt::to_string(length));
  }
  return before + length;
}

ArrayHeader parse_header(std::span<const std::byte> bytes, const HeaderPlace& place) {
  const std::size_t before = static_cast<unsigned>(bytes[6]) == 1 ? 10 : 12;
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + before, bytes.size() - before);
  ArrayHeader header;
  Literal literal(text);
  std::optional<std::string_view> descr;
  bool has_order = false, has_shape = false;
  literal.read_dictionary([&](std::string_view key) {
    if (key == "descr" && !descr) {
      if (literal.at('['))
        refuse(ErrorCode::unsupported, place, "the array holds records of several fields", "numbers", {},
               "save each field as an array of its own");
      descr = literal.read_string();
    } else if (key == "fortran_order" && !std::exchange(has_order, true)) {
      header.fortran_order = literal.read_bool();
    } else if (key == "shape" && !std::exchange(has_shape, true)) {
      header.shape = literal.read_tuple();
    } else {
      literal.fail();
    }
  });
  if (literal.failed() || !descr || !has_order || !has_shape) {
    refuse(ErrorCode::format, place, "the array's header makes no sense",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", printable(text));
  }
  parse_descr(*descr, place, header);
  measure(place, header);
  return header;
}

}  // namespace headrace::format::numpy
