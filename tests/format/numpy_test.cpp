#include "format/numpy/numpy.hpp"

#include "format/numpy/header.hpp"
#include "support/memory_source.hpp"
#include "support/zip_file.hpp"

#include <headrace/error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headrace::test {
namespace {

using format::Contents;
using format::Opening;
using format::Strided;
using testing::ElementsAre;

constexpr std::uint64_t kMemory = std::uint64_t{8} << 20;

/// A .npy file with this dictionary; the header is padded as NumPy does.
std::string npy(std::string_view dictionary, std::string_view data, int version = 1) {
  const std::size_t before = version == 1 ? 10 : 12;
  std::string text(dictionary);
  text.resize((before + text.size() + 1 + 63) / 64 * 64 - before - 1, ' ');
  text += '\n';
  std::string bytes = "\x93NUMPY" + std::string(1, static_cast<char>(version)) + std::string(1, '\0');
  bytes += version == 1 ? raw(static_cast<std::uint16_t>(text.size())) : raw(static_cast<std::uint32_t>(text.size()));
  return bytes + text + std::string(data);
}

std::string npy_of(std::string_view descr, std::string_view shape, std::string_view data, bool fortran = false) {
  return npy("{'descr': '" + std::string(descr) + "', 'fortran_order': " + (fortran ? "True" : "False") +
                 ", 'shape': " + std::string(shape) + ", }",
             data);
}

Contents open_array(std::string bytes, std::uint64_t memory = kMemory) {
  const io::Location location("/weights/matrix.npy");
  const SourceOptions options;
  return format::numpy::open_array(std::make_shared<MemorySource>(std::move(bytes), "matrix.npy"),
                                   Opening{location, options, memory});
}

Contents open_archive(const ZipFile& file, std::uint64_t memory = kMemory) {
  const io::Location location("/weights/all.npz");
  const SourceOptions options;
  const auto source = std::make_shared<MemorySource>(file.finish(), "all.npz");
  return format::numpy::open_archive(std::make_shared<const format::zip::Archive>(source, memory),
                                     Opening{location, options, memory});
}

void expect_error(ErrorCode code, std::string_view part, const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "accepted, but should say: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << error.what();
  }
}

std::string bytes_of_tensor(const Contents& contents, const TensorInfo& tensor) {
  std::string out(tensor.bytes, ' ');
  contents.files[tensor.file]->read_at(tensor.offset, std::as_writable_bytes(std::span(out)));
  return out;
}

const TensorInfo& only(const Contents& contents) {
  EXPECT_EQ(contents.header.tensors.tensors().size(), 1U);
  return contents.header.tensors.tensors().front();
}

TEST(Numpy, ReadsAnArray) {
  const std::string data = raw(1.0F) + raw(2.0F) + raw(3.0F) + raw(4.0F) + raw(5.0F) + raw(6.0F);
  for (const int version : {1, 2, 3}) {
    const Contents contents =
        open_array(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", data, version));
    const TensorInfo& tensor = only(contents);
    EXPECT_EQ(contents.header.format, Format::numpy);
    EXPECT_EQ(tensor.name, "matrix");
    EXPECT_EQ(tensor.dtype, DType::F32);
    EXPECT_EQ(tensor.encoding, Encoding::plain);
    EXPECT_THAT(tensor.shape, ElementsAre(2, 3));
    EXPECT_EQ(tensor.offset, contents.header.data_offset);
    EXPECT_EQ(bytes_of_tensor(contents, tensor), data);
  }
}

TEST(Numpy, KnowsItsTypes) {
  const std::vector<std::pair<std::string, DType>> types = {
      {"|b1", DType::BOOL}, {"|i1", DType::I8},  {"|u1", DType::U8},  {"<i2", DType::I16}, {"<u2", DType::U16},
      {"<f2", DType::F16},  {"<i4", DType::I32}, {"<u4", DType::U32}, {"=f4", DType::F32}, {"<i8", DType::I64},
      {"<u8", DType::U64},  {"<f8", DType::F64}, {"<c8", DType::C64}, {"f8", DType::F64},  {"<i1", DType::I8},
  };
  for (const auto& [descr, dtype] : types) {
    const Contents contents = open_array(npy_of(descr, "()", std::string(info(dtype).block_bytes, 'x')));
    EXPECT_EQ(only(contents).dtype, dtype) << descr;
    EXPECT_EQ(only(contents).encoding, Encoding::plain) << descr;
    EXPECT_TRUE(only(contents).shape.empty());
  }
  const Contents swapped = open_array(npy_of(">f8", "(2,)", std::string(16, 'x')));
  EXPECT_EQ(only(swapped).encoding, Encoding::byte_swapped);
  EXPECT_EQ(only(open_array(npy_of(">u1", "(2,)", "xx"))).encoding, Encoding::plain);
}

TEST(Numpy, FortranOrderIsAViewWhereItMatters) {
  const Contents contents = open_array(npy_of("<f4", "(2, 3, 5)", std::string(120, 'x'), true));
  const TensorInfo& tensor = only(contents);
  EXPECT_EQ(tensor.encoding, Encoding::strided);
  EXPECT_THAT(tensor.shape, ElementsAre(2, 3, 5));
  const auto& strided = std::get<Strided>(contents.header.stored_as(tensor));
  EXPECT_THAT(strided.strides, ElementsAre(1, 2, 6));
  EXPECT_FALSE(strided.swapped);
  const Contents swapped = open_array(npy_of(">i2", "(2, 2)", std::string(8, 'x'), true));
  EXPECT_EQ(only(swapped).encoding, Encoding::strided);
  EXPECT_TRUE(std::get<Strided>(swapped.header.stored_as(only(swapped))).swapped);
  for (const std::string_view flat : {"()", "(1,)", "(1, 1)"}) {
    EXPECT_EQ(only(open_array(npy_of("<f4", flat, "abcd", true))).encoding, Encoding::plain) << flat;
  }
  EXPECT_EQ(only(open_array(npy_of("<f4", "(1, 2, 1)", "abcdefgh", true))).encoding, Encoding::plain);
  EXPECT_EQ(only(open_array(npy_of(">f4", "(0, 7)", "", true))).encoding, Encoding::byte_swapped);
}

TEST(Numpy, AcceptsTheDictionaryAsOthersWriteIt) {
  for (const std::string_view dictionary : {
           R"({"shape": (2, 2,), "descr": "|u1", "fortran_order": False})",
           R"({'shape':(2,2),'fortran_order':False,'descr':'|u1'})",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (2L, 2L), }",
           " { 'descr' : '|u1' ,\n 'fortran_order' : False , 'shape' : ( 2 , 2 ) } ",
       }) {
    EXPECT_THAT(only(open_array(npy(dictionary, "abcd"))).shape, ElementsAre(2, 2)) << dictionary;
  }
}

TEST(Numpy, RefusesOtherDictionaries) {
  for (const std::string_view dictionary : {
           "",
           "{}",
           "[]",
           "{'descr': '|u1', 'fortran_order': False}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), 'more': 1}",
           "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (4,)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), 'shape': (4,)}",
           "{'descr': '|u1', 'fortran_order': 0, 'shape': (4,)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': 4}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (4)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (-4,)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (4.0,)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (,)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (2 2)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (4,)",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (4,)} more",
           "{'descr': '|u1' 'fortran_order': False, 'shape': (4,)}",
           "{'descr': '|u1\", 'fortran_order': False, 'shape': (4,)}",
           "{'de\\scr': '|u1', 'fortran_order': False, 'shape': (4,)}",
           "{descr: '|u1', 'fortran_order': False, 'shape': (4,)}",
           "{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': (4,)}",
       }) {
    expect_error(ErrorCode::format, "makes no sense", [&] { open_array(npy(dictionary, "abcd")); });
  }
  std::string deep = "{'descr': '|u1', 'fortran_order': False, 'shape': " + std::string(10'000, '(');
  expect_error(ErrorCode::format, "makes no sense", [&] { open_array(npy(deep, "abcd")); });
  std::string dims = "(";
  for (int i = 0; i < 65; ++i) dims += "1, ";
  expect_error(ErrorCode::format, "makes no sense", [&] { open_array(npy_of("|u1", dims + ")", "a")); });
}

TEST(Numpy, NamesWhatNoTensorCanHold) {
  const auto refuse = [](std::string_view descr, std::string_view part) {
    expect_error(ErrorCode::unsupported, part, [&] { open_array(npy_of(descr, "(1,)", "abcd")); });
  };
  refuse("|O", "Python objects");
  refuse("<U8", "text");
  refuse("|S8", "text");
  refuse("<M8[ns]", "dates");
  refuse("<c16", "complex");
  refuse("<f16", "width");
  refuse("<f1", "width");
  refuse("<V2", "bfloat16");
  refuse("|V1", "float8");
  refuse("<x4", "unknown");
  refuse("", "unknown");
  refuse("<", "unknown");
  expect_error(ErrorCode::unsupported, "records",
               [] { open_array(npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,)}", "abcd")); });
  expect_error(ErrorCode::format, "no byte order", [] { open_array(npy_of("|f4", "(1,)", "abcd")); });
}

TEST(Numpy, RefusesWrongSizes) {
  const std::string good = npy_of("<f4", "(2, 3)", std::string(24, 'x'));
  for (std::size_t bytes = 0; bytes < good.size(); ++bytes) {
    EXPECT_THROW(open_array(good.substr(0, bytes)), Error) << bytes;
  }
  expect_error(ErrorCode::format, "hasn't the size", [&] { open_array(good + "x"); });
  const auto shape = [](std::string_view dims, std::string_view part) {
    expect_error(ErrorCode::format, part, [&] { open_array(npy_of("<f4", dims, "abcd")); });
  };
  shape("(4294967296, 4294967296)", "doesn't fit 64 bits");
  shape("(4294967296, 4294967296, 0)", "doesn't fit 64 bits");
  shape("(4611686018427387904,)", "doesn't fit 64 bits");
  shape("(1152921504606846976,)", "hasn't the size");
  expect_error(ErrorCode::format, "impossible length",
               [] { open_array("\x93NUMPY" + std::string("\x02\0", 2) + raw(~0u) + std::string(200, ' ')); });
  expect_error(ErrorCode::unsupported, "version", [] { open_array(npy("{}", "", 4)); });
  expect_error(ErrorCode::budget, "raise --memory", [&] { open_array(good, 1000); });
}

TEST(Numpy, ReadsAnArchive) {
  const std::string a = raw(1.0F) + raw(2.0F), b = raw(std::int64_t{-7}), long_header = std::string(300, ' ');
  ZipFile file;
  file.add("a.npy", npy_of("<f4", "(2,)", a)).add_deflated("sub/b.npy", npy_of(">i8", "(1,)", b));
  file.add_deflated("c.npy", npy("{'descr': '<f4', " + long_header + "'fortran_order': True, 'shape': (1, 2), }", a));
  file.add("__MACOSX/._a.npy.x", "clutter").add(".DS_Store", "clutter");
  const Contents contents = open_archive(file);
  const auto tensors = contents.header.tensors.tensors();
  ASSERT_EQ(tensors.size(), 3U);
  EXPECT_EQ(contents.header.format, Format::numpy);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[1].name, "sub/b");
  EXPECT_EQ(tensors[1].encoding, Encoding::byte_swapped);
  EXPECT_THAT(tensors[2].shape, ElementsAre(1, 2));
  EXPECT_EQ(bytes_of_tensor(contents, tensors[0]), a);
  EXPECT_EQ(bytes_of_tensor(contents, tensors[1]), b);
  EXPECT_EQ(bytes_of_tensor(contents, tensors[2]), a);
  for (const auto& source : contents.files) source->finish();
}

TEST(Numpy, ArchivesKeepTheirChecksums) {
  const std::string array = npy_of("<f4", "(1000,)", std::string(4000, 'x'));
  const Contents contents = open_archive(
      ZipFile().add("ok.npy", array).add("bad.npy", array, {.crc = 5}).add_deflated("worse.npy", array, {.crc = 5}));
  const auto tensors = contents.header.tensors.tensors();
  bytes_of_tensor(contents, tensors[0]);
  contents.files[0]->finish();
  // The header was read when the archive was opened, the data now: that makes the entry whole.
  expect_error(ErrorCode::format, "'bad.npy' is damaged", [&] { bytes_of_tensor(contents, tensors[1]); });
  expect_error(ErrorCode::format, "'worse.npy' is damaged", [&] { bytes_of_tensor(contents, tensors[2]); });
}

TEST(Numpy, RefusesOtherArchives) {
  expect_error(ErrorCode::format, "holds no weights", [] { open_archive(ZipFile()); });
  expect_error(ErrorCode::format, "found 'word/document.xml'",
               [] { open_archive(ZipFile().add("word/document.xml", "<")); });
  expect_error(ErrorCode::unsupported, "found 'config.json'",
               [] { open_archive(ZipFile().add("a.npy", npy_of("|u1", "(1,)", "x")).add("config.json", "{}")); });
  expect_error(ErrorCode::format, "tensor 'a': at byte 35: this is no NumPy array",
               [] { open_archive(ZipFile().add("a.npy", "something else")); });
  expect_error(ErrorCode::format, "too short", [] { open_archive(ZipFile().add_deflated("a.npy", "short")); });
}

TEST(Numpy, ManyArraysInLittleMemory) {
  ZipFile file;
  const std::string array = npy_of("<f4", "(1, 2, 1, 1)", "abcdefgh");
  for (int i = 0; i < 10'000; ++i) {
    i % 10 == 0 ? file.add_deflated("layer." + std::to_string(i) + ".npy", array)
                : file.add("layer." + std::to_string(i) + ".npy", array);
  }
  const Contents contents = open_archive(file, std::uint64_t{6} << 20);
  EXPECT_EQ(contents.header.tensors.tensors().size(), 10'000U);
  EXPECT_EQ(contents.files.size(), 1001U);
  EXPECT_LE(contents.memory(), std::size_t{6} << 20);
  expect_error(ErrorCode::budget, "raise --memory", [&] { open_archive(file, 3 << 20); });
}

}  // namespace
}  // namespace headrace::test
