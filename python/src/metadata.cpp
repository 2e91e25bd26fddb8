#include "metadata.hpp"

#include "bindings.hpp"
#include "text.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::python {
namespace {

using Bytes = std::vector<std::byte>;

constexpr int kDeepest = 64;  // arrays in arrays; the readers' own limit is lower

// ---- from a file's bytes

class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> bytes) : bytes_(bytes) {}

  nb::object value(ValueType type) {
    switch (type) {
      case ValueType::u8: return integer<std::uint8_t>();
      case ValueType::i8: return integer<std::int8_t>();
      case ValueType::u16: return integer<std::uint16_t>();
      case ValueType::i16: return integer<std::int16_t>();
      case ValueType::u32: return integer<std::uint32_t>();
      case ValueType::i32: return integer<std::int32_t>();
      case ValueType::u64: return integer<std::uint64_t>();
      case ValueType::i64: return integer<std::int64_t>();
      case ValueType::f32: return nb::float_(static_cast<double>(number<float>()));
      case ValueType::f64: return nb::float_(number<double>());
      case ValueType::boolean: return nb::bool_(number<std::uint8_t>() != 0);
      case ValueType::string: {
        const auto text = take(number<std::uint64_t>());
        return to_str({reinterpret_cast<const char*>(text.data()), text.size()});
      }
      case ValueType::array: break;
    }
    return array();
  }

 private:
  nb::object array() {
    const auto type = static_cast<ValueType>(number<std::uint32_t>());
    const auto count = number<std::uint64_t>();
    nb::list elements;
    for (std::uint64_t i = 0; i < count; ++i) elements.append(value(type));
    return elements;
  }

  template <typename T>
  nb::object integer() {
    const T found = number<T>();  // a char of its own would become a str
    if constexpr (std::numeric_limits<T>::is_signed) return nb::int_(static_cast<std::int64_t>(found));
    return nb::int_(static_cast<std::uint64_t>(found));
  }

  template <typename T>
  T number() {
    T found{};
    std::memcpy(&found, take(sizeof(T)).data(), sizeof(T));
    return found;
  }

  std::span<const std::byte> take(std::uint64_t count) {
    if (count > bytes_.size()) throw Error(ErrorCode::internal, "a metadata value ends too early");
    const auto taken = bytes_.first(static_cast<std::size_t>(count));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }

  std::span<const std::byte> bytes_;
};

// ---- from Python's values

template <typename T>
void put(Bytes& out, T number) {
  const auto some = std::as_bytes(std::span(&number, 1));
  out.insert(out.end(), some.begin(), some.end());
}

// An integer of 64 bits: `high` is set where it is at least 2⁶³.
struct Integer {
  std::int64_t number = 0;
  std::optional<std::uint64_t> high = {};
};

bool fits(const Integer& integer, ValueType type) {
  constexpr std::int64_t k2To32 = std::int64_t{1} << 32, k2To31 = std::int64_t{1} << 31;
  switch (type) {
    case ValueType::u32: return !integer.high && integer.number >= 0 && integer.number < k2To32;
    case ValueType::i32: return !integer.high && integer.number >= -k2To31 && integer.number < k2To31;
    case ValueType::i64: return !integer.high;
    default: return integer.high || integer.number >= 0;  // u64
  }
}

class Encoder {
 public:
  explicit Encoder(std::string_view key) : key_(key) {}

  struct Value {
    ValueType type;
    Bytes bytes;
  };

  Value value(nb::handle given, int depth = 0) const {
    const nb::object plain = without_numpy(given);
    const PyObject* object = plain.ptr();
    Value made{ValueType::string, {}};
    if (PyUnicode_Check(object)) {
      put_text(made.bytes, plain);
    } else if (PyBool_Check(object)) {
      made.type = ValueType::boolean;
    } else if (PyLong_Check(object)) {
      made.type = type_for({&plain, 1}, {{ValueType::u32, ValueType::i32, ValueType::u64, ValueType::i64}});
    } else if (PyFloat_Check(object)) {
      made.type = type_of_float(plain);
    } else if (PyList_Check(object) || PyTuple_Check(object)) {
      return {ValueType::array, array(plain, depth)};
    } else {
      refuse("a value of a type that metadata can't hold", "str, int, float, bool or a list of them", type_of(plain));
    }
    if (made.type != ValueType::string) put_number(made.bytes, made.type, plain);
    return made;
  }

 private:
  [[noreturn]] void refuse(const char* problem, std::string expected, std::string found) const {
    throw Error(ErrorCode::invalid_argument, "metadata '" + std::string(key_) + "': " + problem,
                {.expected = std::move(expected), .found = std::move(found)});
  }

  static std::string type_of(nb::handle object) { return nb::type_name(object.type()).c_str(); }

  // numpy's numbers and arrays can say themselves in Python's.
  static nb::object without_numpy(nb::handle given) {
    const PyObject* object = given.ptr();
    const bool known = PyUnicode_Check(object) || PyLong_Check(object) || PyList_Check(object) || PyTuple_Check(object);
    if (known || !nb::hasattr(given, "tolist")) return nb::borrow(given);
    return given.attr("tolist")();
  }

  Integer integer(nb::handle number) const {
    int overflow = 0;
    const long long low = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
    if (overflow == 0) return {low};
    const unsigned long long high = overflow > 0 ? PyLong_AsUnsignedLongLong(number.ptr()) : 0;
    if (overflow < 0 || PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      refuse("an integer beyond 64 bits", "-2^63 to 2^64 - 1", nb::str(number).c_str());
    }
    return {0, high};
  }

  // The first that holds them all.
  ValueType type_for(std::span<const nb::object> numbers, const std::array<ValueType, 4>& types) const {
    std::vector<Integer> integers;
    for (const nb::object& number : numbers) integers.push_back(integer(number));
    for (const ValueType type : types) {
      if (std::ranges::all_of(integers, [&](const Integer& one) { return fits(one, type); })) return type;
    }
    refuse("integers that no one type of 64 bits holds", "-2^63 to 2^63 - 1, or 0 to 2^64 - 1", "both ends");
  }

  static ValueType type_of_float(nb::handle number) {
    const double value = PyFloat_AsDouble(number.ptr());
    const bool too_large = std::isfinite(value) && !std::isfinite(static_cast<float>(value));
    return too_large ? ValueType::f64 : ValueType::f32;
  }

  void put_number(Bytes& out, ValueType type, nb::handle number) const {
    switch (type) {
      case ValueType::boolean: return put(out, static_cast<std::uint8_t>(number.is(nb::handle(Py_True)) ? 1 : 0));
      case ValueType::u32: return put(out, static_cast<std::uint32_t>(integer(number).number));
      case ValueType::i32: return put(out, static_cast<std::int32_t>(integer(number).number));
      case ValueType::i64: return put(out, integer(number).number);
      case ValueType::u64: {
        const Integer made = integer(number);
        return put(out, made.high.value_or(static_cast<std::uint64_t>(made.number)));
      }
      case ValueType::f32: return put(out, static_cast<float>(real(number)));
      default: return put(out, real(number));
    }
  }

  double real(nb::handle number) const {
    const double value = PyFloat_AsDouble(number.ptr());  // an int among floats too
    if (value == -1 && PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      refuse("an integer too large for a float", "", nb::str(number).c_str());
    }
    return value;
  }

  static void put_text(Bytes& out, nb::handle text) {
    const std::string made = from_str(text);
    put(out, static_cast<std::uint64_t>(made.size()));
    const auto some = std::as_bytes(std::span(made));
    out.insert(out.end(), some.begin(), some.end());
  }

  Bytes array(nb::handle given, int depth) const {
    if (depth == kDeepest) refuse("lists too deep in lists", std::to_string(kDeepest) + " at most", "more");
    std::vector<nb::object> elements;
    for (const nb::handle element : given) elements.push_back(without_numpy(element));
    const ValueType type = element_type(elements);
    Bytes out;
    put(out, static_cast<std::uint32_t>(type));
    put(out, static_cast<std::uint64_t>(elements.size()));
    for (const nb::object& element : elements) {
      if (type == ValueType::string) {
        put_text(out, element);
      } else if (type == ValueType::array) {
        const Bytes inner = array(element, depth + 1);
        out.insert(out.end(), inner.begin(), inner.end());
      } else {
        put_number(out, type, element);
      }
    }
    return out;
  }

  ValueType element_type(std::span<const nb::object> elements) const {
    const auto all = [&](auto is) {
      return std::ranges::all_of(elements, [&](const nb::object& element) { return is(element.ptr()); });
    };
    if (all([](PyObject* object) { return PyUnicode_Check(object); })) return ValueType::string;
    if (all([](PyObject* object) { return PyBool_Check(object); })) return ValueType::boolean;
    if (all([](PyObject* object) { return PyList_Check(object) || PyTuple_Check(object); })) return ValueType::array;
    const auto is_integer = [](PyObject* object) { return PyLong_Check(object) && !PyBool_Check(object); };
    if (all(is_integer)) return type_for(elements, {{ValueType::i32, ValueType::u32, ValueType::i64, ValueType::u64}});
    if (!all([&](PyObject* object) { return is_integer(object) || PyFloat_Check(object); })) {
      for (const nb::object& element : elements) {
        if (type_of(element) != type_of(elements.front()))
          refuse("a list of values that have no type in common", type_of(elements.front()), type_of(element));
      }
      refuse("a list of a type that metadata can't hold", "str, int, float, bool or lists", type_of(elements.front()));
    }
    const bool wide = std::ranges::any_of(elements, [&](const nb::object& element) {
      const double value = real(element);
      return std::isfinite(value) && !std::isfinite(static_cast<float>(value));
    });
    return wide ? ValueType::f64 : ValueType::f32;
  }

  std::string_view key_;
};

// What from_dict makes of each pair: its type's name, and its bytes as a GGUF file has them.
nb::dict encode_metadata(nb::dict pairs) {
  const Metadata metadata = from_dict(std::move(pairs));
  nb::dict made;
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    const auto bytes = metadata.value(i).bytes();
    made[to_str(metadata.key(i))] =
        nb::make_tuple(to_str(name(metadata.value(i).type())), nb::bytes(bytes.data(), bytes.size()));
  }
  return made;
}

}  // namespace

nb::dict to_dict(const Metadata& metadata) {
  nb::dict pairs;
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    const MetadataValue value = metadata.value(i);
    pairs[to_str(metadata.key(i))] = Decoder(value.bytes()).value(value.type());
  }
  return pairs;
}

Metadata from_dict(nb::dict pairs) {
  Metadata metadata;
  for (const auto& [key, value] : pairs) {
    if (!PyUnicode_Check(key.ptr())) {
      throw Error(ErrorCode::invalid_argument, "a key of metadata is no text",
                  {.expected = "str", .found = nb::type_name(key.type()).c_str()});
    }
    const std::string name = from_str(key);
    const Encoder::Value made = Encoder(name).value(value);
    metadata.append(name, made.type, made.bytes);
  }
  return metadata;
}

void bind_metadata(nb::module_& module) {
  module.def("encode_metadata", &encode_metadata, nb::arg("pairs"),
             "What a dict's values become in a GGUF file: (name of the type, bytes) by key.");
}

}  // namespace headrace::python
