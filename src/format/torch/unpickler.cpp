#include "format/torch/unpickler.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <utility>

namespace headrace::format::torch {
namespace {

constexpr std::size_t kMemoPage = 512;
constexpr std::uint64_t kNewestProtocol = 5;

// The opcodes, by the names that Python's pickletools has for them.
enum Op : std::uint8_t {
  MARK = '(',
  STOP = '.',
  POP = '0',
  POP_MARK = '1',
  DUP = '2',
  BINBYTES = 'B',
  SHORT_BINBYTES = 'C',
  FLOAT = 'F',
  BINFLOAT = 'G',
  INT = 'I',
  BININT = 'J',
  BININT1 = 'K',
  LONG = 'L',
  BININT2 = 'M',
  NONE = 'N',
  PERSID = 'P',
  BINPERSID = 'Q',
  REDUCE = 'R',
  STRING = 'S',
  BINSTRING = 'T',
  SHORT_BINSTRING = 'U',
  UNICODE = 'V',
  BINUNICODE = 'X',
  EMPTY_LIST = ']',
  APPEND = 'a',
  BUILD = 'b',
  GLOBAL = 'c',
  DICT = 'd',
  APPENDS = 'e',
  GET = 'g',
  BINGET = 'h',
  INST = 'i',
  LONG_BINGET = 'j',
  LIST = 'l',
  OBJ = 'o',
  PUT = 'p',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  SETITEM = 's',
  TUPLE = 't',
  EMPTY_TUPLE = ')',
  SETITEMS = 'u',
  EMPTY_DICT = '}',
  PROTO = 0x80,
  NEWOBJ = 0x81,
  EXT1 = 0x82,
  EXT2 = 0x83,
  EXT4 = 0x84,
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  LONG1 = 0x8A,
  LONG4 = 0x8B,
  SHORT_BINUNICODE = 0x8C,
  BINUNICODE8 = 0x8D,
  BINBYTES8 = 0x8E,
  EMPTY_SET = 0x8F,
  ADDITEMS = 0x90,
  FROZENSET = 0x91,
  NEWOBJ_EX = 0x92,
  STACK_GLOBAL = 0x93,
  MEMOIZE = 0x94,
  FRAME = 0x95,
  BYTEARRAY8 = 0x96,
};

}  // namespace

Value Unpickler::load() {
  for (;;) {
    at_ = cursor_.position();
    const std::uint8_t op = cursor_.u8();
    if (op == STOP) return pop();
    if (!do_constant(op) && !do_integer(op) && !do_text(op) && !do_container(op) && !do_item(op) && !do_memo(op) &&
        !do_object(op)) {
      refuse_opcode(op);
    }
  }
}

void Unpickler::refuse_opcode(std::uint8_t op) {
  if (op == EXT1 || op == EXT2 || op == EXT4) {
    const std::uint64_t code = cursor_.number(std::size_t{1} << (op - EXT1));
    cursor_.fail(at_, fmt::format("the pickle asks for extension {}, which Headrace doesn't run", code), {}, {},
                 "save a plain state_dict from a program that you trust", ErrorCode::unsupported);
  }
  if (op == PERSID || op > BYTEARRAY8) {
    cursor_.fail(at_, fmt::format("the pickle uses opcode {:#04x}, which no checkpoint needs", op), {}, {}, {},
                 ErrorCode::unsupported);
  }
  damaged("this is no opcode of a pickle", {}, fmt::format("{:#04x}", op));
}

bool Unpickler::do_constant(std::uint8_t op) {
  switch (op) {
    case PROTO:
      if (const std::uint8_t protocol = cursor_.u8(); protocol > kNewestProtocol) {
        cursor_.fail(at_, "the pickle's protocol is too new", fmt::format("at most {}", kNewestProtocol),
                     fmt::to_string(protocol), {}, ErrorCode::unsupported);
      }
      break;
    case FRAME: cursor_.skip(8); break;  // its length helps those who read ahead
    case NONE: push(Value(Kind::none)); break;
    case NEWTRUE: push(Value(Kind::boolean, 1)); break;
    case NEWFALSE: push(Value(Kind::boolean, 0)); break;
    case BINFLOAT:
      cursor_.skip(8);
      push(Value(Kind::other));
      break;
    case FLOAT:
      cursor_.line();
      push(Value(Kind::other));
      break;
    case POP:
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        pop();
      }
      break;
    case POP_MARK: stack_.resize(pop_mark()); break;
    case DUP: push(Value(top())); break;
    case MARK:
      if (marks_.size() == marks_.capacity()) {
        values_.hold(Holder::unpickler, memory() + 2 * (marks_.capacity() + 1) * sizeof(marks_[0]));
      }
      marks_.push_back(stack_.size());
      break;
    default: return false;
  }
  return true;
}

bool Unpickler::do_integer(std::uint8_t op) {
  switch (op) {
    case BININT: push(Value(Kind::integer, static_cast<std::int32_t>(cursor_.number(4)))); break;
    case BININT1: push(Value(Kind::integer, static_cast<std::int64_t>(cursor_.number(1)))); break;
    case BININT2: push(Value(Kind::integer, static_cast<std::int64_t>(cursor_.number(2)))); break;
    case LONG1: push_long(cursor_.number(1)); break;
    case LONG4: push_long(cursor_.number(4)); break;
    case INT: {
      const std::string_view line = cursor_.line();
      if (line == "00" || line == "01") {
        push(Value(Kind::boolean, line == "01"));
      } else {
        push_decimal(line);
      }
      break;
    }
    case LONG: {
      std::string_view line = cursor_.line();
      if (line.ends_with('L')) line.remove_suffix(1);
      push_decimal(line);
      break;
    }
    default: return false;
  }
  return true;
}

bool Unpickler::do_text(std::uint8_t op) {
  switch (op) {
    case SHORT_BINSTRING:
    case SHORT_BINUNICODE: push_text(cursor_.number(1)); break;
    case BINSTRING:
    case BINUNICODE: push_text(cursor_.number(4)); break;
    case BINUNICODE8: push_text(cursor_.number(8)); break;
    case SHORT_BINBYTES: push_bytes(cursor_.number(1)); break;
    case BINBYTES: push_bytes(cursor_.number(4)); break;
    case BINBYTES8:
    case BYTEARRAY8: push_bytes(cursor_.number(8)); break;
    case STRING: push_line(cursor_.line(), true); break;
    case UNICODE: push_line(cursor_.line(), false); break;
    default: return false;
  }
  return true;
}

bool Unpickler::do_container(std::uint8_t op) {
  const auto from_mark = [this](Kind kind) {
    const std::size_t mark = pop_mark();
    if (kind == Kind::dict && (stack_.size() - mark) % 2 != 0) damaged("a key of the pickle's dict has no value");
    const Value made = values_.make(kind, above(mark));
    stack_.resize(mark);
    push(made);
  };
  const auto tuple_of = [this](std::size_t size) {
    std::array<Value, 3> items;
    for (std::size_t i = size; i-- > 0;) items[i] = pop();
    push(values_.make(Kind::tuple, std::span(items).first(size)));
  };
  switch (op) {
    case EMPTY_DICT: push(values_.make(Kind::dict, {})); break;
    case EMPTY_LIST: push(values_.make(Kind::list, {})); break;
    case EMPTY_SET: push(values_.make(Kind::set, {})); break;
    case EMPTY_TUPLE: tuple_of(0); break;
    case TUPLE1: tuple_of(1); break;
    case TUPLE2: tuple_of(2); break;
    case TUPLE3: tuple_of(3); break;
    case TUPLE: from_mark(Kind::tuple); break;
    case LIST: from_mark(Kind::list); break;
    case DICT: from_mark(Kind::dict); break;
    case FROZENSET: from_mark(Kind::set); break;
    default: return false;
  }
  return true;
}

bool Unpickler::do_item(std::uint8_t op) {
  // The items lie above the container on the stack.
  const auto add_from = [this](std::size_t begin, Kind kind) {
    if (kind == Kind::dict && (stack_.size() - begin) % 2 != 0) damaged("a key of the pickle's dict has no value");
    const std::size_t least = marks_.empty() ? 0 : marks_.back();
    if (begin <= least) damaged("the pickle adds to nothing");
    const Value container = stack_[begin - 1];
    if (!container.is(kind)) {
      damaged("the pickle adds to the wrong kind of value", std::string(name(kind)),
              std::string(name(container.kind())));
    }
    values_.append(container, above(begin));
    stack_.resize(begin);
  };
  const auto last = [this](std::size_t items) {
    if (stack_.size() < items) damaged("the pickle takes a value that isn't there");
    return stack_.size() - items;
  };
  switch (op) {
    case APPEND: add_from(last(1), Kind::list); break;
    case APPENDS: add_from(pop_mark(), Kind::list); break;
    case SETITEM: add_from(last(2), Kind::dict); break;
    case SETITEMS: add_from(pop_mark(), Kind::dict); break;
    case ADDITEMS: add_from(pop_mark(), Kind::set); break;
    default: return false;
  }
  return true;
}

bool Unpickler::do_memo(std::uint8_t op) {
  const auto decimal = [this] {
    const std::string_view line = cursor_.line();
    std::uint32_t at = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), at);
    if (error != std::errc() || end != line.data() + line.size()) damaged("a number in the pickle is malformed");
    return at;
  };
  switch (op) {
    case GET: push_from_memo(decimal()); break;
    case BINGET: push_from_memo(cursor_.number(1)); break;
    case LONG_BINGET: push_from_memo(cursor_.number(4)); break;
    case PUT: put_into_memo(decimal()); break;
    case BINPUT: put_into_memo(cursor_.number(1)); break;
    case LONG_BINPUT: put_into_memo(cursor_.number(4)); break;
    case MEMOIZE: put_into_memo(memo_entries_); break;
    default: return false;
  }
  return true;
}

bool Unpickler::do_object(std::uint8_t op) {
  const auto call_from_mark = [this](Value function, std::size_t begin, std::size_t mark) {
    const Value made = call(function, values_.make(Kind::tuple, above(begin)));
    stack_.resize(mark);
    push(made);
  };
  switch (op) {
    case GLOBAL:
    case INST: {
      const std::string module(cursor_.line());
      push_global(module, cursor_.line());
      if (op == GLOBAL) break;
      const Value function = pop();
      const std::size_t mark = pop_mark();
      call_from_mark(function, mark, mark);
      break;
    }
    case STACK_GLOBAL: {
      const Value global = pop(), module = pop();
      if (!global.is(Kind::text) || !module.is(Kind::text)) damaged("a global of the pickle has no name");
      push_global(values_.text(module), values_.text(global));
      break;
    }
    case OBJ: {
      const std::size_t mark = pop_mark();
      if (mark == stack_.size()) damaged("the pickle calls nothing");
      call_from_mark(stack_[mark], mark + 1, mark);
      break;
    }
    case NEWOBJ_EX:
      if (const Value named = pop(); !named.is(Kind::dict) || !values_.items(named).empty()) {
        cursor_.fail(at_, "the pickle makes an object with named arguments", {}, {}, {}, ErrorCode::unsupported);
      }
      [[fallthrough]];
    case NEWOBJ:
    case REDUCE: {
      const Value arguments = pop(), function = pop();
      push(call(function, arguments));
      break;
    }
    case BUILD:
      pop();  // attributes, which belong to Python
      if (!top().is(Kind::dict) && !top().is(Kind::set) && !top().is(Kind::other)) {
        cursor_.fail(at_, "the pickle sets the attributes of " + std::string(name(top().kind())), {}, {}, {},
                     ErrorCode::unsupported);
      }
      break;
    case BINPERSID: push(load_persistent(pop())); break;
    default: return false;
  }
  return true;
}

void Unpickler::push_long(std::uint64_t bytes) {
  constexpr std::uint64_t kKept = 16;  // of larger ones, nothing is asked
  cursor_.require(bytes);
  if (bytes > kKept) {
    cursor_.skip(bytes);
    return push(values_.make_text(Kind::large, {}));
  }
  std::array<char, kKept> little{};
  const auto read = std::span(little).first(static_cast<std::size_t>(bytes));
  cursor_.read(std::as_writable_bytes(read));
  const bool negative = !read.empty() && (read.back() & 0x80) != 0;
  std::uint64_t number = negative ? ~std::uint64_t{0} : 0;
  for (std::size_t i = std::min<std::size_t>(read.size(), 8); i-- > 0;) {
    number = number << 8 | static_cast<std::uint8_t>(read[i]);
  }
  const auto value = static_cast<std::int64_t>(number);
  if (bytes <= 8 && value <= Value::kMostInteger && value >= -Value::kMostInteger) {
    return push(Value(Kind::integer, value));
  }
  push(values_.make_text(Kind::large, std::string_view(read.data(), read.size())));
}

void Unpickler::push_decimal(std::string_view digits) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end != digits.data() + digits.size() || error == std::errc::invalid_argument) {
    damaged("a number in the pickle is malformed");
  }
  if (error == std::errc() && value <= Value::kMostInteger && value >= -Value::kMostInteger) {
    return push(Value(Kind::integer, value));
  }
  push(values_.make_text(Kind::large, {}));
}

void Unpickler::push_text(std::uint64_t bytes) {
  cursor_.require(bytes);
  std::span<char> room;
  const Value text = values_.make_text(Kind::text, static_cast<std::size_t>(bytes), room);
  cursor_.read(std::as_writable_bytes(room));
  push(text);
}

// Strings of protocol 0. No checkpoint is written with it; only parts of old ones are.
void Unpickler::push_line(std::string_view line, bool quoted) {
  if (quoted) {
    if (line.size() < 2 || line.front() != line.back() || (line.front() != '\'' && line.front() != '"')) {
      damaged("a string of the pickle has no quotes");
    }
    line = line.substr(1, line.size() - 2);
  }
  if (std::ranges::any_of(line, [](char c) { return c == '\\' || (c & 0x80) != 0; })) {
    cursor_.fail(at_, "a string of the pickle is written with escapes", {}, {}, "save it with protocol 2 or newer",
                 ErrorCode::unsupported);
  }
  push(values_.make_text(Kind::text, line));
}

void Unpickler::push_bytes(std::uint64_t bytes) {
  cursor_.skip(bytes);
  push(Value(Kind::bytes));
}

void Unpickler::push_global(std::string_view module, std::string_view name) {
  const Global* const global = find_global(module, name);
  if (!global) {
    cursor_.fail(
        at_, fmt::format("the pickle asks for {}.{}, which Headrace doesn't run", printable(module), printable(name)),
        {}, {}, hint_for_global(module, name), ErrorCode::unsupported);
  }
  push(Value(Kind::global, global - globals().data()));
}

void Unpickler::push_from_memo(std::uint64_t at) {
  const std::uint64_t page = at / kMemoPage;
  const Value value = page < memo_.size() && memo_[page] ? memo_[page][at % kMemoPage] : Value(Kind::vacant);
  if (value.is(Kind::vacant)) damaged("the pickle refers to a value that isn't there", {}, fmt::to_string(at));
  push(value);
}

void Unpickler::put_into_memo(std::uint64_t at) {
  const Value value = top();
  // Picklers number densely; so what a memo takes is bounded by what was read.
  if (at > cursor_.position() - begin_) damaged("the pickle's memo has a hole", {}, fmt::to_string(at));
  const auto page = static_cast<std::size_t>(at / kMemoPage);
  if (page >= memo_.size()) {
    values_.hold(Holder::unpickler, memory() + 2 * (page + 1) * sizeof(memo_[0]));
    memo_.resize(page + 1);
  }
  if (!memo_[page]) {
    ++memo_pages_;
    values_.hold(Holder::unpickler, memory());
    memo_[page] = std::make_unique<Value[]>(kMemoPage);
    std::fill_n(memo_[page].get(), kMemoPage, Value(Kind::vacant));
  }
  Value& slot = memo_[page][at % kMemoPage];
  if (slot.is(Kind::vacant)) ++memo_entries_;
  slot = value;
}

std::uint64_t Unpickler::memory() const noexcept {
  return stack_.capacity() * sizeof(stack_[0]) + marks_.capacity() * sizeof(marks_[0]) +
         memo_.capacity() * sizeof(memo_[0]) + memo_pages_ * kMemoPage * sizeof(Value);
}

void Unpickler::push(Value value) {
  if (stack_.size() == stack_.capacity()) {
    values_.hold(Holder::unpickler, memory() + 2 * (stack_.capacity() + 1) * sizeof(stack_[0]));
  }
  stack_.push_back(value);
}

Value& Unpickler::top() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) damaged("the pickle takes a value that isn't there");
  return stack_.back();
}

Value Unpickler::pop() {
  const Value value = top();
  stack_.pop_back();
  return value;
}

std::size_t Unpickler::pop_mark() {
  if (marks_.empty()) damaged("the pickle goes back to a mark that isn't there");
  const std::size_t mark = marks_.back();
  marks_.pop_back();
  return mark;
}

void Unpickler::damaged(std::string problem, std::string expected, std::string found) const {
  cursor_.fail(at_, std::move(problem), std::move(expected), std::move(found), "the file is damaged");
}

}  // namespace headrace::format::torch
