#include "format/layout.hpp"

#include "format/support.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>

namespace headrace::test {
namespace {

using format::Layout;
using std::string_literals::operator""s;

struct Tensor {
  std::string name;
  DType dtype;
  std::vector<std::uint64_t> shape;
};

/// Infos over `tensors`, as the plan would hand them over.
std::vector<TensorInfo> infos_of(const std::vector<Tensor>& tensors) {
  std::vector<TensorInfo> infos;
  for (const Tensor& tensor : tensors) {
    std::uint64_t elements = 1;
    for (const std::uint64_t dim : tensor.shape) elements *= dim;
    infos.push_back({.name = tensor.name,
                     .shape = tensor.shape,
                     .elements = elements,
                     .bytes = bytes_of(tensor.dtype, elements).value_or(0),
                     .dtype = tensor.dtype});
  }
  return infos;
}

std::string text_of(const Layout& layout) {
  return {reinterpret_cast<const char*>(layout.header.data()), layout.header.size()};
}

/// The file that the layout describes, its data all zero.
std::string file_of(const Layout& layout) {
  std::string bytes = text_of(layout);
  bytes.resize(layout.file_bytes);
  return bytes;
}

void expect_refused(Format format, const std::vector<Tensor>& tensors, ErrorCode code, std::string_view part,
                    const Metadata& metadata = {}) {
  std::vector<TensorInfo> infos = infos_of(tensors);
  try {
    format::lay_out(format, infos, {}, metadata, "out");
    FAIL() << "accepted, but should say: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << error.what();
    EXPECT_EQ(error.detail().file, "out");
  }
}

void expect_same(const format::Header& header, const std::vector<TensorInfo>& infos, const Metadata& metadata) {
  ASSERT_EQ(header.tensors.tensors().size(), infos.size());
  for (std::size_t i = 0; i < infos.size(); ++i) {
    const TensorInfo& read = header.tensors.tensors()[i];
    EXPECT_EQ(read.name, infos[i].name);
    EXPECT_EQ(read.dtype, infos[i].dtype);
    EXPECT_EQ(to_string(read.shape), to_string(infos[i].shape));
    EXPECT_EQ(read.offset, infos[i].offset) << read.name;
    EXPECT_EQ(read.bytes, infos[i].bytes);
  }
  ASSERT_EQ(header.metadata.size(), metadata.size());
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    EXPECT_EQ(header.metadata.key(i), metadata.key(i));
    EXPECT_EQ(header.metadata.value(i).type(), metadata.value(i).type());
    EXPECT_TRUE(std::ranges::equal(header.metadata.value(i).bytes(), metadata.value(i).bytes()));
  }
}

TEST(GgufLayout, GoldenSamplesComeOutByteForByte) {
  const std::string folder = HEADRACE_TEST_DATA "/golden/gguf-samples/";
  const auto expected = nlohmann::json::parse(read_file(folder + "expected.json"));
  std::vector<std::string> files = {HEADRACE_TEST_DATA "/golden/gguf-cases/ok.gguf",
                                    HEADRACE_TEST_DATA "/golden/gguf-cases/ndims0.gguf"};
  for (const auto& file : expected.at("files")) files.push_back(folder + file.at("file").get<std::string>());
  for (const std::string& file : files) {
    SCOPED_TRACE(file);
    const std::string bytes = read_file(file);
    const auto header = read_bytes(bytes);
    std::vector<TensorInfo> infos(header.tensors.tensors().begin(), header.tensors.tensors().end());
    const Layout layout = format::lay_out(Format::gguf, infos, {}, header.metadata, "out");
    EXPECT_EQ(text_of(layout), bytes.substr(0, header.data_offset));
    EXPECT_EQ(layout.file_bytes, bytes.size());
    EXPECT_EQ(layout.header.capacity(), layout.header.size());
    expect_same(header, infos, header.metadata);
  }
}

TEST(GgufLayout, Version2ComesOutAsVersion3) {
  std::string bytes = read_file(HEADRACE_TEST_DATA "/golden/gguf-cases/v2.gguf");
  const auto header = read_bytes(bytes);
  std::vector<TensorInfo> infos(header.tensors.tensors().begin(), header.tensors.tensors().end());
  const Layout layout = format::lay_out(Format::gguf, infos, {}, header.metadata, "out");
  bytes[4] = 3;
  EXPECT_EQ(text_of(layout), bytes.substr(0, header.data_offset));
}

TEST(GgufLayout, WhatIsLaidOutCanBeRead) {
  Metadata metadata;
  metadata.set_string("general.architecture", "test");
  metadata.set_u32("general.alignment", 128);
  metadata.set_i32_array("numbers", std::vector<std::int32_t>{-1, 0, 7});
  const std::vector<Tensor> tensors = {
      {"a", DType::F32, {3}}, {"q", DType::Q4_K, {2, 256}}, {"none", DType::F16, {0, 4}}, {"s", DType::I64, {}}};
  std::vector<TensorInfo> infos = infos_of(tensors);
  const Layout layout = format::lay_out(Format::gguf, infos, {}, metadata, "out");
  EXPECT_EQ(layout.header.size() % 128, 0u);
  EXPECT_EQ(layout.file_bytes % 128, 0u);
  EXPECT_EQ(infos[1].offset, layout.header.size() + 128);
  expect_same(read_bytes(file_of(layout)), infos, metadata);
}

TEST(GgufLayout, RefusesWhatGgufCantHold) {
  constexpr auto kFormat = Format::gguf;
  expect_refused(kFormat, {{"a", DType::F32, {1, 1, 1, 1, 1}}}, ErrorCode::unsupported, "that many dimensions");
  expect_refused(kFormat, {{"a", DType::U8, {4}}}, ErrorCode::unsupported, "GGUF can't hold tensors of type U8");
  expect_refused(kFormat, {{"a", DType::BOOL, {4}}}, ErrorCode::unsupported, "tensor 'a'");
  expect_refused(kFormat, {{"a\0b"s, DType::F32, {4}}}, ErrorCode::unsupported, "NUL");
  expect_refused(kFormat, {{"a", DType::Q8_0, {2, 16}}}, ErrorCode::invalid_argument, "no whole blocks of Q8_0");
  expect_refused(kFormat, {{"a", DType::Q8_0, {}}}, ErrorCode::invalid_argument, "no whole blocks of Q8_0");
  expect_refused(kFormat, {{"a", DType::F32, {1}}, {"a", DType::F32, {1}}}, ErrorCode::invalid_argument, "two tensors");
  expect_refused(kFormat, {{"a", DType::I8, {std::uint64_t{1} << 63}}}, ErrorCode::unsupported, "63 bits");
  expect_refused(kFormat, {{"a", DType::I8, {INT64_MAX}}, {"b", DType::I8, {INT64_MAX}}}, ErrorCode::invalid_argument,
                 "63 bits");
  Metadata metadata;
  metadata.set_u32("general.alignment", 33);
  expect_refused(kFormat, {}, ErrorCode::invalid_argument, "power of two", metadata);
  metadata.set_u32("general.alignment", 1u << 21);
  expect_refused(kFormat, {}, ErrorCode::unsupported, "larger than Headrace writes", metadata);
  metadata.set_string("general.alignment", "32");
  expect_refused(kFormat, {}, ErrorCode::invalid_argument, "power of two", metadata);
}

TEST(Layout, RefusesBytesThatDontFitTheShape) {
  const std::vector<Tensor> tensors = {{"a", DType::F32, {3}}};
  for (const Format format : {Format::gguf, Format::safetensors}) {
    std::vector<TensorInfo> infos = infos_of(tensors);
    infos[0].bytes = 13;
    EXPECT_THROW(format::lay_out(format, infos, {}, {}, "out"), Error);
  }
}

TEST(SafetensorsLayout, HeaderIsCompactOrderedAndPadded) {
  Metadata metadata;
  metadata.set_string("format", "pt");
  metadata.set_string("quote\"", "back\\slash\n\x01é");
  const std::vector<Tensor> tensors = {{"w", DType::F32, {2, 3}}, {"b\t", DType::U8, {}}};
  std::vector<TensorInfo> infos = infos_of(tensors);
  const std::vector<std::uint32_t> order = {1, 0};
  const Layout layout = format::lay_out(Format::safetensors, infos, order, metadata, "out");
  const std::string json =
      R"({"__metadata__":{"format":"pt","quote\"":"back\\slash\n\u0001é"},)"
      R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[1,25]},"b\t":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})";
  const std::string header = text_of(layout);
  EXPECT_EQ(header.substr(8, json.size()), json);
  EXPECT_EQ(header.size() % 8, 0u);
  EXPECT_LT(header.size() - 8 - json.size(), 8u);
  EXPECT_EQ(header.find_first_not_of(' ', 8 + json.size()), std::string::npos);
  EXPECT_EQ(header.substr(0, 8), raw(std::uint64_t{header.size() - 8}));
  EXPECT_EQ(layout.file_bytes, header.size() + 25);
  EXPECT_EQ(layout.header.capacity(), layout.header.size());
  EXPECT_EQ(infos[0].offset, header.size() + 1);
  expect_same(read_bytes(file_of(layout)), infos, metadata);
}

TEST(SafetensorsLayout, EmptyFilesAndMetadataAlone) {
  std::vector<TensorInfo> none;
  EXPECT_EQ(text_of(format::lay_out(Format::safetensors, none, {}, {}, "out")).substr(8), "{}      ");
  Metadata metadata;
  metadata.set_string("k", "");
  const Layout layout = format::lay_out(Format::safetensors, none, {}, metadata, "out");
  EXPECT_EQ(text_of(layout).substr(8, 27), R"({"__metadata__":{"k":""}}  )");
  EXPECT_EQ(read_bytes(file_of(layout)).metadata.value(0).as_string(), "");
}

// Every byte that a name may contain, and every name that JSON would not give back.
TEST(SafetensorsLayout, AnyUtf8NameComesBack) {
  std::vector<Tensor> tensors;
  for (int c = 0; c < 0x80; ++c) tensors.push_back({"x" + std::string(1, static_cast<char>(c)), DType::F4, {2}});
  for (const char* name : {"", "é", "\xF0\x9F\xA6\x99", "\\u0041", "\"", "/", "\x7F", "\xEF\xBB\xBF", "\xEF\xBF\xBF"}) {
    tensors.push_back({name, DType::F6_E3M2, {4}});
  }
  std::vector<TensorInfo> infos = infos_of(tensors);
  const Layout layout = format::lay_out(Format::safetensors, infos, {}, {}, "out");
  expect_same(read_bytes(file_of(layout)), infos, {});
  const auto parsed = nlohmann::json::parse(text_of(layout).substr(8));
  for (const Tensor& tensor : tensors) EXPECT_TRUE(parsed.contains(tensor.name));
}

TEST(SafetensorsLayout, EveryTypeItHoldsComesBack) {
  std::vector<Tensor> tensors;
  for (const DTypeInfo& row : all_dtypes()) {
    if (format::holds(Format::safetensors, row.dtype)) tensors.push_back({std::string(row.name), row.dtype, {3, 4}});
  }
  EXPECT_EQ(tensors.size(), 22u);
  std::vector<TensorInfo> infos = infos_of(tensors);
  expect_same(read_bytes(file_of(format::lay_out(Format::safetensors, infos, {}, {}, "out"))), infos, {});
}

TEST(SafetensorsLayout, RefusesWhatSafetensorsCantHold) {
  constexpr auto kFormat = Format::safetensors;
  expect_refused(kFormat, {{"a", DType::Q4_0, {32}}}, ErrorCode::unsupported,
                 "safetensors can't hold tensors of type Q4_0");
  expect_refused(kFormat, {{"__metadata__", DType::U8, {1}}}, ErrorCode::unsupported, "keeps this name");
  expect_refused(kFormat, {{"\xFF", DType::U8, {1}}}, ErrorCode::unsupported, "UTF-8");
  expect_refused(kFormat, {{"a", DType::F4, {3}}}, ErrorCode::invalid_argument, "whole number of bytes");
  expect_refused(kFormat, {{"a", DType::U8, {UINT64_MAX}}, {"b", DType::U8, {1}}}, ErrorCode::invalid_argument,
                 "64 bits");
  expect_refused(kFormat, {{"a", DType::U8, {UINT64_MAX}}}, ErrorCode::invalid_argument, "64 bits");
  expect_refused(kFormat, {{"a", DType::U8, {1}}, {"a", DType::U8, {1}}}, ErrorCode::invalid_argument, "two tensors");
  Metadata number, bytes;
  number.set_u32("n", 1);
  bytes.set_string("s", "\xFF");
  expect_refused(kFormat, {}, ErrorCode::unsupported, "'n'", number);
  expect_refused(kFormat, {}, ErrorCode::unsupported, "UTF-8", bytes);
  Metadata large;
  large.set_string("s", std::string(100'000'000, 'x'));
  expect_refused(kFormat, {}, ErrorCode::unsupported, "too long", large);
}

TEST(SafetensorsLayout, TheOrderOfTheDataMustBeAPermutation) {
  const std::vector<Tensor> tensors = {{"a", DType::U8, {1}}, {"b", DType::U8, {1}}};
  for (const std::vector<std::uint32_t>& order : {std::vector<std::uint32_t>{0}, {0, 0}, {0, 2}, {0, 1, 1}}) {
    std::vector<TensorInfo> infos = infos_of(tensors);
    EXPECT_THROW(format::lay_out(Format::safetensors, infos, order, {}, "out"), Error);
  }
}

TEST(Layout, HoldsFollowsTheTable) {
  EXPECT_TRUE(format::holds(Format::gguf, DType::Q4_K));
  EXPECT_FALSE(format::holds(Format::safetensors, DType::Q4_K));
  EXPECT_TRUE(format::holds(Format::safetensors, DType::F8_E4M3));
  EXPECT_FALSE(format::holds(Format::gguf, DType::F8_E4M3));
  EXPECT_TRUE(format::holds(Format::gguf, DType::BF16));
  EXPECT_TRUE(format::holds(Format::safetensors, DType::BF16));
}

}  // namespace
}  // namespace headrace::test
