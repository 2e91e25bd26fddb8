#include "format/detect.hpp"

#include "format/gguf/gguf.hpp"
#include "format/printable.hpp"
#include "format/safetensors/header_reader.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace headrace::format {
namespace {

using namespace std::string_view_literals;  // for signatures that contain NUL

constexpr std::size_t kPeek = 64;
constexpr std::string_view kReads = "Headrace reads safetensors, GGUF, PyTorch, TensorFlow.js and NumPy files";

struct Signature {
  std::string_view bytes;
  std::string_view what;
  std::string_view hint;
};

constexpr std::string_view kDownloadHint =
    "the download got a page or a pointer instead of the file; download it again";

constexpr std::array kSignatures = {
    Signature{"sys_info\0"sv, "a tar file of PyTorch before 0.1.10", "load and save it anew with a current PyTorch"},
    Signature{"FUGG"sv, "a GGUF file in the other byte order, its first word too",
              "convert it with the tool that made it"},
    Signature{"lmgg"sv, "a legacy GGML file", "make a GGUF from the original weights with a current tool"},
    Signature{"fmgg"sv, "a legacy GGMF file", "make a GGUF from the original weights with a current tool"},
    Signature{"tjgg"sv, "a legacy GGJT file", "make a GGUF from the original weights with a current tool"},
    Signature{"algg"sv, "a legacy GGLA adapter", "make a GGUF from the original weights with a current tool"},
    Signature{"version https://git-lfs"sv, "a Git LFS pointer", "fetch the file itself with git lfs pull"},
    Signature{"<!DOCTYPE"sv, "an HTML page", kDownloadHint},
    Signature{"<!doctype"sv, "an HTML page", kDownloadHint},
    Signature{"<html"sv, "an HTML page", kDownloadHint},
    Signature{"<?xml"sv, "an XML document", kDownloadHint},
    Signature{"\x89HDF"sv, "an HDF5 file", kReads},
    Signature{"\x1f\x8b"sv, "a gzip archive", "unpack it first"},
    Signature{"\0\0\0\0\0\0\0\0"sv, "zeros", "the download was interrupted, or the disk was full"},
};

struct Peek {
  std::array<char, kPeek> bytes{};
  std::size_t size = 0;

  std::string_view text() const { return {bytes.data(), size}; }
};

Peek peek(const io::ByteSource& source) {
  Peek peek;
  const auto window = std::as_writable_bytes(std::span(peek.bytes));
  while (const std::size_t got = source.read_some_at(peek.size, window.subspan(peek.size))) peek.size += got;
  return peek;
}

bool is_gguf(std::string_view start) {
  std::uint32_t magic = 0;
  if (start.size() < sizeof magic) return false;
  std::memcpy(&magic, start.data(), sizeof magic);
  return magic == gguf::kMagic;  // in either byte order
}

// Eight bytes of length, then '{' after JSON whitespace; all of the window may be whitespace.
bool has_json_after_length(std::string_view start) {
  if (start.size() <= 8) return false;
  const std::size_t at = start.find_first_not_of(" \t\r\n", 8);
  return at == std::string_view::npos ? start.size() == kPeek : start[at] == '{';
}

std::optional<std::uint64_t> length_of(std::string_view start) {
  std::uint64_t length = 0;
  if (start.size() < sizeof length) return std::nullopt;
  std::memcpy(&length, start.data(), sizeof length);
  return length;
}

std::optional<Kind> other_kind(std::string_view start) {
  if (start.starts_with("PK\x03\x04"sv) || start.starts_with("PK\x05\x06"sv)) return Kind::zip;
  if (start.size() > 1 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5) return Kind::pickle;
  if (start.starts_with("\x93NUMPY"sv)) return Kind::numpy;
  const std::size_t at = start.find_first_not_of(" \t\r\n");
  if (at != start.npos && (start[at] == '{' || start[at] == '[')) return Kind::json;
  return std::nullopt;
}

[[noreturn]] void refuse(const std::string& file, std::string_view start) {
  ErrorDetail detail{.file = file, .offset = 0, .expected = "a checkpoint", .hint = std::string(kReads)};
  if (start.empty()) {
    throw Error(ErrorCode::format, "the file is empty",
                {.file = file, .expected = "a checkpoint", .hint = "was the download interrupted?"});
  }
  for (const Signature& signature : kSignatures) {
    if (!start.starts_with(signature.bytes)) continue;
    detail.found = signature.what;
    detail.hint = signature.hint;
    throw Error(ErrorCode::format, "this is no checkpoint that Headrace reads", std::move(detail));
  }
  if (start.size() < 8) detail.expected = "at least 8 bytes";
  std::string hex;
  for (const char c : start.substr(0, 8)) hex += fmt::format("{:02x} ", static_cast<unsigned char>(c));
  detail.found = fmt::format("{}('{}')", hex, printable(start.substr(0, 8)));
  throw Error(ErrorCode::format, "this is no checkpoint that Headrace reads", std::move(detail));
}

}  // namespace

Kind detect(const io::ByteSource& source) {
  const Peek window = peek(source);
  const std::string_view start = window.text();
  if (is_gguf(start)) return Kind::gguf;

  // A short safetensors header and a pickle can begin with the same two bytes: the brace decides. And a length that
  // can't be right is still best explained by the reader, unless the bytes are a known other thing.
  const std::optional<std::uint64_t> length = length_of(start);
  const bool plausible_length = length && *length > 0 && *length <= safetensors::kMaxHeaderBytes;
  const std::optional<Kind> other = other_kind(start);
  const bool known = other || std::any_of(kSignatures.begin(), kSignatures.end(), [start](const Signature& signature) {
                       return start.starts_with(signature.bytes);
                     });
  if (has_json_after_length(start) && (plausible_length || !known)) return Kind::safetensors;
  if (other) return *other;
  if (plausible_length && !known && *length <= source.size() - 8) return Kind::safetensors;
  refuse(source.name(), start);
}

}  // namespace headrace::format
