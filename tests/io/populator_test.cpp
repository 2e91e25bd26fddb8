#include "io/populator.hpp"

#include "support/mapped_bytes.hpp"
#include "support/temp_folder.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace headrace::io {
namespace {

constexpr std::uint64_t kSize = (std::uint64_t{3} << 20) + 777;

struct PopulatorTest : testing::Test {
  const test::TempFolder folder;
  const std::filesystem::path path = folder / "file";

  PopulatorTest() { test::write_file(path, std::string(kSize, 'x')); }
};

TEST_F(PopulatorTest, WhatWasBroughtIsInMemory) {
  const File file = File::open(path);
  const Mapping mapping(file);
  const Populator populator;
  populator.bring(file, mapping, 12345, kSize - 12345);
  EXPECT_GE(test::mapped_bytes_of(path), kSize - 12345);
  EXPECT_EQ(mapping.bytes().back(), std::byte{'x'});
}

TEST_F(PopulatorTest, SaysWhereAFileEndsTooSoon) {
  const File file = File::open(path);
  const Mapping mapping(file);
  const Populator populator;
  std::filesystem::resize_file(path, 1 << 20);
  EXPECT_NO_THROW(populator.bring(file, mapping, 0, 1 << 20));
  try {
    populator.bring(file, mapping, 5000, 2 << 20);
    ADD_FAILURE() << "the file is shorter";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_EQ(error.detail().file, path.string());
  }
}

}  // namespace
}  // namespace headrace::io
