// Files of PyTorch's old format, put together by hand: which tensors they hold, where, and under which names.
#include "format/torch/torch.hpp"
#include "support/memory_source.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace headrace::test {
namespace {

using namespace std::string_literals;

// The bytes of a pickle that make a value.
std::string text(std::string_view content) {
  return "X" + raw(static_cast<std::uint32_t>(content.size())) + std::string(content);
}
std::string number(std::uint32_t n) { return "J" + raw(n); }
std::string tuple(std::initializer_list<std::string> items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
std::string numbers(std::initializer_list<std::uint32_t> values) {
  std::string all = "(";
  for (const std::uint32_t value : values) all += number(value);
  return all + "t";
}
std::string dict(std::initializer_list<std::pair<std::string, std::string>> pairs) {
  std::string all = "}(";
  for (const auto& [key, value] : pairs) all += key + value;
  return all + "u";
}
std::string pickle(const std::string& value) { return "\x80\2" + value + "."; }

std::string storage(std::string_view key, std::uint32_t count, std::string_view type = "Float",
                    const std::string& view = "N") {
  return tuple({text("storage"), "ctorch\n" + std::string(type) + "Storage\n", text(key), text("cpu"), number(count),
                view}) +
         "Q";
}

struct Layout {
  std::initializer_list<std::uint32_t> size, stride;
  std::uint32_t offset = 0;
};

std::string tensor(const std::string& from, const Layout& shape) {
  return "ctorch._utils\n_rebuild_tensor_v2\n" +
         tuple({from, number(shape.offset), numbers(shape.size), numbers(shape.stride), "\x89",
                "ccollections\nOrderedDict\n)R"}) +
         "R";
}

/// Storages: key and their bytes' number of elements, of four bytes each.
std::string file_of(const std::string& root, std::initializer_list<std::pair<std::string, std::uint64_t>> storages) {
  std::string bytes = pickle("\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + pickle(number(1001)) +
                      pickle(dict({{text("little_endian"), "\x88"}})) + pickle(root);
  std::string keys = "](", data;
  for (const auto& [key, count] : storages) {
    keys += text(key);
    data += raw(count) + std::string(4 * count, '\0');
  }
  return bytes + pickle(keys + "e") + data;
}

format::Contents open(std::string bytes, const std::string& key = {}, std::uint64_t memory = kDefaultMemory) {
  static const io::Location location("old.pt");
  SourceOptions options;
  options.torch_key = key;
  return format::torch::open_legacy(std::make_shared<MemorySource>(std::move(bytes)), {location, options, memory});
}

std::string names(const format::Contents& contents) {
  std::string all;
  for (const TensorInfo& tensor : contents.header.tensors.tensors()) all += std::string(tensor.name) + " ";
  return all;
}

const Layout kFour{{4}, {1}};

TEST(TorchLegacy, SaysWhereTensorsLie) {
  const std::string matrix = storage("m", 12);
  const std::string file = file_of(dict({{text("plain"), tensor(matrix, {{3, 4}, {4, 1}})},
                                         {text("row"), tensor(matrix, {{4}, {1}, 8})},
                                         {text("transposed"), tensor(matrix, {{4, 3}, {1, 4}})},
                                         {text("one"), tensor(matrix, {{1, 1, 2}, {77, 5, 1}, 3})},
                                         {text("other"), tensor(storage("k", 4), kFour)},
                                         {text("empty"), tensor(matrix, {{0, 4}, {9, 9}})}}),
                                   {{"k", 4}, {"m", 12}});
  const std::uint64_t m = file.size() - 48, k = m - 8 - 16;
  const format::Contents contents = open(file);
  const auto tensors = contents.header.tensors.tensors();
  ASSERT_EQ(names(contents), "plain row transposed one other empty ");
  EXPECT_EQ(contents.header.format, Format::torch);
  EXPECT_EQ(contents.header.data_offset, k);
  EXPECT_EQ(contents.files.size(), 1u);
  EXPECT_EQ(contents.header.metadata.size(), 0u);
  for (const TensorInfo& tensor : tensors) {
    const bool is_view = tensor.name == "transposed";
    EXPECT_EQ(tensor.encoding, is_view ? Encoding::strided : Encoding::plain) << tensor.name;
    EXPECT_EQ(tensor.dtype, DType::F32);
    EXPECT_EQ(tensor.bytes, 4 * tensor.elements);
    EXPECT_EQ(tensor.file, 0u);
  }
  EXPECT_EQ(tensors[0].offset, m);
  EXPECT_EQ(tensors[1].offset, m + 32);
  EXPECT_EQ(tensors[2].offset, m);
  EXPECT_EQ(to_string(tensors[2].shape), "[4, 3]");
  EXPECT_EQ(std::get<format::Strided>(contents.header.stored_as(tensors[2])).strides,
            (std::vector<std::uint64_t>{1, 4}));
  EXPECT_EQ(tensors[3].offset, m + 12);
  EXPECT_EQ(tensors[4].offset, k);
  EXPECT_EQ(tensors[5].elements, 0u);
}

// A storage of the old format may be a part of another.
TEST(TorchLegacy, FollowsViewsOfStorages) {
  const std::string view = tuple({text("v"), number(2), number(8)});
  const std::string file =
      file_of(dict({{text("a"), tensor(storage("m", 12, "Int", view), {{4}, {1}, 3})}}), {{"m", 12}});
  const format::Contents contents = open(file);
  EXPECT_EQ(contents.header.tensors.tensors()[0].offset, file.size() - 48 + 4 * (2 + 3));
  EXPECT_EQ(contents.header.tensors.tensors()[0].dtype, DType::I32);
}

TEST(TorchLegacy, TakesTheEntryThatIsMeant) {
  const std::string weight = tensor(storage("m", 4), kFour);
  const std::string layers = "](" + dict({{text("w"), weight}}) + dict({{text("w"), weight}}) + "e";
  const auto file = [&](const std::string& root) { return file_of(root, {{"m", 4}}); };
  const auto chosen = [&](const std::string& root, const std::string& key = {}) {
    return names(open(file(root), key));
  };

  const std::string plain = dict({{text("a"), weight}, {number(7), weight}, {text("b"), layers}});
  EXPECT_EQ(chosen(plain), "a 7 b.0.w b.1.w ");
  EXPECT_EQ(chosen(plain, "b"), "0.w 1.w ");
  EXPECT_EQ(chosen(plain, "b.1"), "w ");
  EXPECT_EQ(chosen(plain, "7"), "7 ");
  EXPECT_EQ(chosen(weight), "tensor ");
  EXPECT_EQ(chosen(layers), "0.w 1.w ");

  const std::string wrapped = dict({{text("epoch"), number(3)}, {text("state_dict"), plain}});
  EXPECT_EQ(chosen(wrapped), "a 7 b.0.w b.1.w ");
  EXPECT_EQ(chosen(wrapped, "."), "state_dict.a state_dict.7 state_dict.b.0.w state_dict.b.1.w ");

  const std::string two = dict({{text("model"), dict({{text("a.b"), plain}})}, {text("optimizer"), layers}});
  EXPECT_THROW(chosen(two), Error);
  EXPECT_EQ(chosen(two, "model"), "a.b.a a.b.7 a.b.b.0.w a.b.b.1.w ");
  EXPECT_EQ(chosen(two, "model.a.b.b.0"), "w ");
  EXPECT_EQ(chosen(two, "optimizer.0"), "w ");
  EXPECT_THROW(chosen(two, "model.a.c"), Error);
}

TEST(TorchLegacy, NeedsWhatItSaysItNeeds) {
  const std::string file = file_of(dict({{text("a"), tensor(storage("m", 4), kFour)}}), {{"m", 4}});
  EXPECT_EQ(names(open(file, {}, std::uint64_t{1} << 20)), "a ");
  try {
    open(file, {}, std::uint64_t{64} << 10);
    ADD_FAILURE() << "the window alone takes as much";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::budget);
  }
}

}  // namespace
}  // namespace headrace::test
