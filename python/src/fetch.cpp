#include "fetch.hpp"

#include "interrupts.hpp"
#include "text.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace headrace::python {
namespace {

/// Most bytes that one read() is asked for: they lie in memory beside the budget.
constexpr std::size_t kMostAtOnce = std::size_t{1} << 20;

/// An object that threads without the GIL may copy and let go of.
class Kept {
 public:
  explicit Kept(nb::object object) : object_(new nb::object(std::move(object)), &release) {}
  nb::handle get() const noexcept { return *object_; }

 private:
  static void release(nb::object* object) noexcept {
    let_go([&] { delete object; });
  }

  std::shared_ptr<nb::object> object_;
};

/// The memory of a bytes-like object, held in place for its life. Needs the GIL to be made; see Kept.
class Buffer {
 public:
  explicit Buffer(nb::handle from) {
    if (PyObject_GetBuffer(from.ptr(), &view_, PyBUF_SIMPLE) != 0) throw nb::python_error();
  }
  ~Buffer() {
    let_go([&] { PyBuffer_Release(&view_); });
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::span<const std::byte> bytes() const noexcept {
    return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

std::size_t copy_some(std::span<const std::byte> from, std::span<std::byte> out) noexcept {
  const std::size_t n = std::min(from.size(), out.size());
  if (n > 0) std::memcpy(out.data(), from.data(), n);
  return n;
}

class MemoryStream final : public ByteStream {
 public:
  explicit MemoryStream(nb::handle from) : buffer_(from) {}

  std::optional<std::uint64_t> size() const override { return buffer_.bytes().size(); }
  bool ranges() const override { return true; }
  std::size_t read(std::span<std::byte>) override { return 0; }  // never asked
  std::size_t read_at(std::uint64_t offset, std::span<std::byte> out) override {
    const auto bytes = buffer_.bytes();
    return copy_some(bytes.subspan(static_cast<std::size_t>(std::min<std::uint64_t>(offset, bytes.size()))), out);
  }

 private:
  const Buffer buffer_;
};

Error wrong_piece(const std::string& file, const char* from, nb::handle found) {
  return {ErrorCode::invalid_argument,
          std::string(from) + " gave no bytes",
          {.file = file, .expected = "bytes", .found = nb::type_name(found.type()).c_str()}};
}

class FileStream final : public ByteStream {
 public:
  FileStream(std::string file, nb::object read) : file_(std::move(file)), read_(std::move(read)) {}

  std::size_t read(std::span<std::byte> out) override {
    return on_worker([&] { return read_some(out); });
  }

 private:
  std::size_t read_some(std::span<std::byte> out) {
    const std::size_t most = std::min(out.size(), kMostAtOnce);
    const nb::object piece = read_.get()(most);
    if (!PyObject_CheckBuffer(piece.ptr())) throw wrong_piece(file_, "read()", piece);
    const Buffer buffer(piece);
    if (buffer.bytes().size() > most) {
      throw Error(ErrorCode::io, "read() gives more than it was asked for",
                  {.file = file_,
                   .expected = "at most " + std::to_string(most) + " bytes",
                   .found = std::to_string(buffer.bytes().size())});
    }
    return copy_some(buffer.bytes(), out);
  }

  const std::string file_;
  const Kept read_;
};

class PiecesStream final : public ByteStream {
 public:
  PiecesStream(std::string file, nb::object iterator) : file_(std::move(file)), iterator_(std::move(iterator)) {}

  std::size_t read(std::span<std::byte> out) override {
    return on_worker([&] { return read_some(out); });
  }

 private:
  // What a piece has more than is wanted waits for the next read.
  std::size_t read_some(std::span<std::byte> out) {
    while (!piece_ || at_ == piece_->bytes().size()) {
      piece_ = nullptr;
      const nb::object next = nb::steal(PyIter_Next(iterator_.get().ptr()));
      if (!next.is_valid()) {
        if (PyErr_Occurred() != nullptr) throw nb::python_error();
        return 0;
      }
      if (!PyObject_CheckBuffer(next.ptr())) throw wrong_piece(file_, "the iterator", next);
      piece_ = std::make_unique<Buffer>(next);
      at_ = 0;
    }
    const std::size_t n = copy_some(piece_->bytes().subspan(at_), out);
    at_ += n;
    return n;
  }

  const std::string file_;
  const Kept iterator_;
  std::unique_ptr<Buffer> piece_;
  std::size_t at_ = 0;
};

// As errors may show it: without the credentials and the query of a URL.
std::string shown(const std::string& location) {
  const std::size_t scheme = location.find("://");
  if (scheme == location.npos) return location;
  const std::size_t host = scheme + 3, end = std::min(location.find_first_of("?#", host), location.size());
  const std::size_t path = std::min(location.find('/', host), end), at = location.substr(0, path).rfind('@');
  if (location.starts_with("hf://") || at == location.npos || at < host) return location.substr(0, end);
  return location.substr(0, host) + location.substr(at + 1, end - at - 1);
}

std::shared_ptr<ByteStream> stream_of(const std::string& file, const nb::object& given) {
  if (PyObject_CheckBuffer(given.ptr())) return std::make_shared<MemoryStream>(given);
  if (nb::hasattr(given, "read")) return std::make_shared<FileStream>(file, given.attr("read"));
  if (!PyUnicode_Check(given.ptr())) {
    if (const nb::object iterator = nb::steal(PyObject_GetIter(given.ptr())); iterator.is_valid())
      return std::make_shared<PiecesStream>(file, iterator);
    PyErr_Clear();
  }
  throw Error(ErrorCode::invalid_argument, "fetch returned what can't be read",
              {.file = file,
               .expected = "bytes, an object with read(n), or an iterable of bytes",
               .found = nb::type_name(given.type()).c_str()});
}

}  // namespace

Fetch fetch_of(nb::object callable) {
  return [kept = Kept(std::move(callable))](const std::string& location) {
    return on_worker([&] { return stream_of(shown(location), kept.get()(to_str(location))); });
  };
}

WeightUrlConverter converter_of(nb::object callable) {
  return [kept = Kept(std::move(callable))](const std::string& weight_file_name) {
    return on_worker([&] { return from_str(kept.get()(to_str(weight_file_name))); });
  };
}

}  // namespace headrace::python
