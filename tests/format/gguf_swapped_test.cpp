// GGUF in the other byte order: whatever is read of it equals what is read of the same file in ours.
#include "codec/byte_order.hpp"
#include "format/support.hpp"
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/convert.hpp>
#include <headrace/verify.hpp>

#include <algorithm>
#include <filesystem>

namespace headrace::test {
namespace {

namespace fs = std::filesystem;

/// Writes a sound GGUF file anew with all its numbers reversed.
class Swapper {
 public:
  explicit Swapper(std::string bytes) : bytes_(std::move(bytes)), header_(read_bytes(bytes_)) {}

  std::string swap() {
    at_ = 4;
    number<std::uint32_t>();
    const auto tensors = number<std::uint64_t>(), pairs = number<std::uint64_t>();
    for (std::uint64_t i = 0; i < pairs; ++i) {
      string();
      value(number<std::uint32_t>());
    }
    for (std::uint64_t i = 0; i < tensors; ++i) {
      string();
      for (auto rank = number<std::uint32_t>(); rank > 0; --rank) number<std::uint64_t>();
      number<std::uint32_t>();
      number<std::uint64_t>();
    }
    for (const TensorInfo& tensor : header_.tensors.tensors()) {
      const auto data = std::as_writable_bytes(std::span(bytes_)).subspan(tensor.offset, tensor.bytes);
      codec::swap_byte_order(tensor.dtype, data);
    }
    return bytes_;
  }

 private:
  template <class T>
  T number() {
    T number;
    std::memcpy(&number, bytes_.data() + at_, sizeof number);
    std::reverse(bytes_.data() + at_, bytes_.data() + at_ + sizeof number);
    at_ += sizeof number;
    return number;
  }
  void string() { at_ += number<std::uint64_t>(); }
  void value(std::uint32_t type) {
    const std::size_t size = size_of(static_cast<ValueType>(type));
    if (type == 8) return string();
    if (type != 9) {
      std::reverse(bytes_.data() + at_, bytes_.data() + at_ + size);
      at_ += size;
      return;
    }
    const auto element = number<std::uint32_t>();
    for (auto count = number<std::uint64_t>(); count > 0; --count) value(element);
  }

  std::string bytes_;
  format::Header header_;
  std::size_t at_ = 0;
};

std::string swapped(const std::string& bytes) { return Swapper(bytes).swap(); }

void expect_same(const format::Header& plain, const format::Header& other) {
  EXPECT_EQ(other.version, plain.version);
  EXPECT_EQ(other.data_offset, plain.data_offset);
  EXPECT_EQ(other.alignment, plain.alignment);
  ASSERT_EQ(other.metadata.size(), plain.metadata.size());
  for (std::size_t i = 0; i < plain.metadata.size(); ++i) {
    EXPECT_EQ(other.metadata.key(i), plain.metadata.key(i));
    EXPECT_EQ(other.metadata.value(i).type(), plain.metadata.value(i).type());
    EXPECT_TRUE(std::ranges::equal(other.metadata.value(i).bytes(), plain.metadata.value(i).bytes()))
        << plain.metadata.key(i);
  }
  const auto a = plain.tensors.tensors(), b = other.tensors.tensors();
  ASSERT_EQ(b.size(), a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(b[i].name, a[i].name);
    EXPECT_EQ(b[i].dtype, a[i].dtype);
    EXPECT_TRUE(std::ranges::equal(b[i].shape, a[i].shape));
    EXPECT_EQ(b[i].offset, a[i].offset);
    EXPECT_EQ(b[i].bytes, a[i].bytes);
  }
}

/// Every value type there is, arrays in arrays, and a tensor of each type of ggml's.
std::string everything() {
  const auto pair = [](GgufFile& file, std::uint32_t type, const std::string& value) {
    file.pair("key." + std::to_string(type) + "." + std::to_string(value.size()), type, value);
  };
  std::uint64_t tensors = 0;
  for (const DTypeInfo& type : all_dtypes()) tensors += type.gguf_id >= 0 ? 1 : 0;
  GgufFile file(tensors, 16);
  for (const std::uint32_t type : {0, 1, 7}) pair(file, type, "\1");
  for (const std::uint32_t type : {2, 3}) pair(file, type, "\1\2");
  for (const std::uint32_t type : {4, 5, 6}) pair(file, type, "\1\2\3\4");
  for (const std::uint32_t type : {10, 11, 12}) pair(file, type, "\1\2\3\4\5\6\7\x08");
  const auto text = [](std::string_view value) { return raw(std::uint64_t{value.size()}) + std::string(value); };
  pair(file, 8, text("a string keeps its order"));
  pair(file, 9, raw(2u) + raw(std::uint64_t{3}) + "\1\2\3\4\5\6");
  pair(file, 9, raw(8u) + raw(std::uint64_t{2}) + text("one") + text("") + std::string());
  pair(file, 9, raw(0u) + raw(std::uint64_t{40'000}) + std::string(40'000, 'u'));
  pair(file, 9,
       raw(9u) + raw(std::uint64_t{2}) + (raw(10u) + raw(std::uint64_t{1}) + "\1\2\3\4\5\6\7\x08") +
           (raw(8u) + raw(std::uint64_t{1}) + text("inner")));
  std::uint64_t offset = 0;
  for (const DTypeInfo& type : all_dtypes()) {
    if (type.gguf_id < 0) continue;
    const std::uint64_t row = std::uint64_t{2} * type.block_elements;
    file.tensor(std::string(type.name), {row, 3}, static_cast<std::uint32_t>(type.gguf_id), offset);
    offset += (std::uint64_t{6} * type.block_bytes + 31) / 32 * 32;
  }
  std::string bytes = file.with_data(offset);
  const std::size_t data = bytes.size() - offset;
  for (std::size_t i = data; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + (i >> 8));
  return bytes;
}

TEST(SwappedGguf, ReadsAsTheSameFileInOurOrder) {
  const std::string plain = everything();
  expect_same(read_bytes(plain), read_bytes(swapped(plain)));
  std::size_t files = 0;
  for (const auto& file : fs::directory_iterator(HEADRACE_TEST_DATA "/golden/gguf-samples")) {
    if (file.path().extension() != ".gguf") continue;
    SCOPED_TRACE(file.path());
    const std::string bytes = read_file(file.path().string());
    expect_same(read_bytes(bytes), read_bytes(swapped(bytes)));
    ++files;
  }
  EXPECT_GE(files, 5u);
}

TEST(SwappedGguf, OnlyTypesOfSingleBytesArePlain) {
  const format::Header header = read_bytes(swapped(everything()));
  for (const TensorInfo& tensor : header.tensors.tensors()) {
    std::vector<std::byte> bytes(tensor.bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37);
    std::vector<std::byte> turned = bytes;
    codec::swap_byte_order(tensor.dtype, turned);
    EXPECT_EQ(tensor.encoding, turned == bytes ? Encoding::plain : Encoding::byte_swapped) << tensor.name;
  }
  const format::Header plain = read_bytes(everything());
  for (const TensorInfo& tensor : plain.tensors.tensors()) {
    EXPECT_EQ(tensor.encoding, Encoding::plain) << tensor.name;
  }
}

TEST(SwappedGguf, TensorsAreReadInOurOrder) {
  const TempFolder folder;
  const std::string plain = everything();
  write_file(folder / "plain.gguf", plain);
  write_file(folder / "swapped.gguf", swapped(plain));
  const Checkpoint a = Checkpoint::open((folder / "plain.gguf").string());
  const Checkpoint b = Checkpoint::open((folder / "swapped.gguf").string());
  for (const TensorInfo& tensor : a.tensors()) {
    const std::vector<std::byte> whole = bytes_in(a, tensor);
    EXPECT_EQ(bytes_in(b, *b.find(tensor.name)), whole) << tensor.name;
    for (const std::size_t step : {1, 5, 100}) {
      std::vector<std::byte> pieces(whole.size());
      for (std::size_t at = 0; at < whole.size(); at += step) {
        b.read(*b.find(tensor.name), at, std::span(pieces).subspan(at, std::min(step, whole.size() - at)));
      }
      EXPECT_EQ(pieces, whole) << tensor.name << " by " << step;
    }
  }
  const VerifyReport report = verify(a, b);
  EXPECT_FALSE(report.files_identical);
  EXPECT_TRUE(report.metadata_identical);
  for (const TensorComparison& tensor : report.tensors) EXPECT_EQ(tensor.match, Match::identical) << tensor.name;
}

TEST(SwappedGguf, ConvertsToTheSameFileInOurOrder) {
  const TempFolder folder;
  std::vector<TestTensor> tensors;
  for (const DTypeInfo& type : all_dtypes()) {
    if (type.gguf_id < 0 || type.internal) continue;
    tensors.push_back(random_bytes(std::string(type.name), type.dtype, {5, std::uint64_t{3} * type.block_elements}, 1));
  }
  tensors.push_back(random_bytes("large", DType::F16, {1000, 1024}, 2));
  Metadata metadata;
  metadata.set_string("general.name", "test");
  metadata.set_i32_array("numbers", std::vector<std::int32_t>{1, -2, 3});
  save(folder / "plain.gguf", tensors, metadata);
  const std::string plain = read_file((folder / "plain.gguf").string());
  write_file(folder / "swapped.gguf", swapped(plain));
  convert((folder / "swapped.gguf").string(), folder / "again.gguf");
  EXPECT_TRUE(read_file((folder / "again.gguf").string()) == plain);
}

TEST(SwappedGguf, CutAnywhereIsRefused) {
  const std::string bytes = swapped(GgufFile(1, 2)
                                        .pair("a", 9, raw(8u) + raw(std::uint64_t{1}) + raw(std::uint64_t{2}) + "xy")
                                        .pair("general.alignment", 4, raw(64u))
                                        .tensor("t", {32, 2}, 2, 0)
                                        .with_data(36, 64));
  EXPECT_FALSE(error_of(bytes));
  for (std::size_t size = 5; size < bytes.size(); ++size) {
    const std::optional<Error> error = error_of(bytes.substr(0, size));
    ASSERT_TRUE(error) << size;
    EXPECT_EQ(error->code(), ErrorCode::format) << size << ": " << error->what();
  }
}

// Each number of the header set to what would be too much in one order or the other.
TEST(SwappedGguf, AnyNumberOfTheHeaderMayBeWrong) {
  const std::string sound = swapped(everything());
  const std::size_t header = read_bytes(sound).data_offset;
  for (std::size_t at = 4; at + 8 <= std::min<std::size_t>(header, 3000); ++at) {
    for (const char* wrong : {"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "\0\0\0\0\0\0\0\1", "\1\0\0\0\0\0\0\0"}) {
      std::string bytes = sound;
      std::memcpy(bytes.data() + at, wrong, 8);
      error_of(bytes, std::uint64_t{1} << 20);
    }
  }
}

/// A file as a pipe gives it: its length isn't known, and it comes in small parts.
class Trickle : public MemorySource {
 public:
  using MemorySource::MemorySource;
  std::uint64_t size() const noexcept override { return io::kUnknownSize; }
  std::size_t read_some_at(std::uint64_t offset, std::span<std::byte> out) const override {
    const std::uint64_t there = MemorySource::size();
    const auto n = std::min<std::uint64_t>({out.size(), 1000, there - std::min(offset, there)});
    read_at(offset, out.first(n));
    return n;
  }
};

TEST(GgufStream, ReadsAsTheFileDoes) {
  for (const std::string& bytes : {everything(), swapped(everything())}) {
    const format::Header whole = read_bytes(bytes);
    expect_same(whole, format::read_header(Trickle(bytes), kRoomy));
    expect_same(whole, format::read_header(Trickle(bytes.substr(0, whole.data_offset)), kRoomy));
  }
}

TEST(GgufStream, CutInTheHeaderIsRefused) {
  const std::string bytes = everything();
  const std::size_t header = read_bytes(bytes).data_offset;
  for (std::size_t size = 5; size + 32 < header; size += size < 2000 || size + 2000 > header ? 1 : 997) {
    try {
      format::read_header(Trickle(bytes.substr(0, size)), kRoomy);
      ADD_FAILURE() << "accepted at " << size;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::format) << error.what();
      EXPECT_NE(std::string_view(error.what()).find("the file ends inside"), std::string_view::npos) << error.what();
      EXPECT_EQ(error.detail().offset, size) << error.what();
    }
  }
}

// Without a length, only the memory that is allowed stands against a large count.
TEST(GgufStream, CountsThatNothingBacksAreRefusedInBoundedMemory) {
  for (const std::uint64_t count : {std::uint64_t{1} << 24, std::uint64_t{1} << 40, UINT64_MAX}) {
    const std::string text = raw(count);
    const std::vector<std::string> files = {GgufFile(count, 0).bytes(),
                                            GgufFile(0, count).bytes(),
                                            GgufFile(0, 1).add(text).bytes(),
                                            GgufFile(0, 1).string("k").add(raw(8u)).add(text).bytes(),
                                            GgufFile(0, 1).string("k").add(raw(9u)).add(raw(8u)).add(text).bytes(),
                                            GgufFile(1, 0).add(text).bytes()};
    for (const std::string& bytes : files) EXPECT_THROW(format::read_header(Trickle(bytes), 1 << 20), Error);
  }
}

}  // namespace
}  // namespace headrace::test
