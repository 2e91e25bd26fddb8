#include "io/whole.hpp"

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace headrace::io {
namespace {

constexpr std::uint64_t kFirst = std::uint64_t{64} << 10;

class Whole final : public ByteSource {
 public:
  Whole(std::string name, std::vector<std::byte> bytes) : name_(std::move(name)), bytes_(std::move(bytes)) {}

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t size() const noexcept override { return bytes_.size(); }
  std::size_t memory() const noexcept override { return bytes_.capacity(); }

  void read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
      throw Error(ErrorCode::io, "the file ends too soon",
                  {.file = name_,
                   .offset = offset,
                   .expected = std::to_string(out.size()) + " more bytes",
                   .found = "the end"});
    }
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
  }

 private:
  const std::string name_;
  const std::vector<std::byte> bytes_;
};

[[noreturn]] void refuse(const std::string& file, std::uint64_t most, std::uint64_t found) {
  throw Error(ErrorCode::budget, "the file doesn't fit the memory allowed for it",
              {.file = file,
               .expected = "at most " + format_bytes(most),
               .found = "at least " + format_bytes(found),
               .hint = "raise --memory"});
}

}  // namespace

std::shared_ptr<const ByteSource> read_whole(const ByteSource& stream, std::uint64_t most) {
  const bool sized = stream.size() != kUnknownSize;
  if (sized && stream.size() > most) refuse(stream.name(), most, stream.size());
  // One more than there should be: so the end is seen without growing.
  std::vector<std::byte> bytes(static_cast<std::size_t>(sized ? stream.size() + 1 : std::min(kFirst, most) + 1));
  std::size_t used = 0;
  while (const std::size_t got = stream.read_some_at(used, std::span(bytes).subspan(used))) {
    used += got;
    if (used > most) refuse(stream.name(), most, used);
    if (used == bytes.size()) bytes.resize(static_cast<std::size_t>(std::min<std::uint64_t>(2 * used, most + 1)));
  }
  bytes.resize(used);
  return std::make_shared<Whole>(stream.name(), std::move(bytes));
}

}  // namespace headrace::io
