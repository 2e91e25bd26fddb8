// Unpickler: reads a pickle without running it.
#pragma once

#include "format/torch/cursor.hpp"
#include "format/torch/values.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::format::torch {

/// Interprets the opcodes of protocols 0 to 5 that checkpoints are made of. Globals are looked up in globals.hpp, and a
/// call makes one of the Kinds: no code is ever loaded or run. What it takes grows with the pickle's length alone, and
/// memory is asked for from the values' allowance. Nothing recurses.
/// Source: Python's Lib/pickletools.py.
class Unpickler {
 public:
  Unpickler(Cursor& cursor, Values& values) : cursor_(cursor), values_(values), begin_(cursor.position()) {}
  ~Unpickler() { values_.let_go(Holder::unpickler); }
  Unpickler(const Unpickler&) = delete;
  Unpickler& operator=(const Unpickler&) = delete;

  /// Reads up to and including the STOP. Throws Error: format, unsupported (naming the global or the opcode), budget,
  /// io.
  Value load();

 private:
  struct Call {
    const Global& global;
    std::span<const Value> arguments;
  };

  // Each does one family of opcodes; false: it isn't of that family.
  bool do_constant(std::uint8_t op);
  bool do_integer(std::uint8_t op);
  bool do_text(std::uint8_t op);
  bool do_container(std::uint8_t op);
  bool do_item(std::uint8_t op);
  bool do_memo(std::uint8_t op);
  bool do_object(std::uint8_t op);
  [[noreturn]] void refuse_opcode(std::uint8_t op);

  void push_long(std::uint64_t bytes);
  void push_decimal(std::string_view digits);
  void push_text(std::uint64_t bytes);
  void push_line(std::string_view line, bool quoted);
  void push_bytes(std::uint64_t bytes);
  void push_global(std::string_view module, std::string_view name);
  void push_from_memo(std::uint64_t at);
  void put_into_memo(std::uint64_t at);

  // What calls and persistent ids make.
  Value call(Value function, Value arguments);
  Value make_dict(const Call& call);
  Value make_set(const Call& call);
  Value make_size(const Call& call);
  Value make_tensor(const Call& call);
  Value make_parameter(const Call& call);
  Value make_from_type(const Call& call);
  void read_metadata(Value metadata, RawTensor& tensor);
  void read_dimensions(Value shape, Value strides, RawTensor& tensor);
  std::uint64_t count(Value value, const char* what);
  Value load_persistent(Value id);
  StorageView view_of(std::uint32_t storage, Value metadata, const Element& element);

  std::uint64_t memory() const noexcept;
  void push(Value value);
  Value pop();
  Value& top();
  std::size_t pop_mark();  // where on the stack the marked values begin
  std::span<const Value> above(std::size_t mark) const { return std::span(stack_).subspan(mark); }
  Value require_container(Kind kind);  // on top of the stack
  [[noreturn]] void damaged(std::string problem, std::string expected = {}, std::string found = {}) const;

  Cursor& cursor_;
  Values& values_;
  std::uint64_t begin_;
  std::uint64_t at_ = 0;  // of the opcode being done
  std::vector<Value> stack_;
  std::vector<std::size_t> marks_;
  std::vector<std::unique_ptr<Value[]>> memo_;  // in pages, of which the last ones may be null
  std::uint64_t memo_pages_ = 0, memo_entries_ = 0;
};

}  // namespace headrace::format::torch
