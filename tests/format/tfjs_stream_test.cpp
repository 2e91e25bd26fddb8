// TensorFlow.js through a program's own streams and from other places than the manifest's folder.
#include "support/memory_source.hpp"
#include "support/model.hpp"
#include "support/temp_folder.hpp"
#include "support/text_stream.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/convert.hpp>
#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace headrace::test {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = HEADRACE_TEST_DATA "/golden/tfjs";

/// The files of a golden model, as if they lay in `folder`; the manifest as model.json.
std::map<std::string, std::string> files_of(const char* model, const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& file : fs::directory_iterator(kGolden / model)) {
    const std::string name = file.path().filename();
    if (name == "expected.json") continue;
    files[folder + (name.ends_with(".json") ? "model.json" : name)] = read_file(file.path().string());
  }
  return files;
}

fs::path manifest_of(const char* model) {
  for (const auto& file : fs::directory_iterator(kGolden / model)) {
    const std::string name = file.path().filename();
    if (name.ends_with(".json") && name != "expected.json") return file.path();
  }
  throw std::runtime_error("no manifest");
}

template <class Body>
std::optional<Error> error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

ConvertOptions options_with(SourceOptions source, bool quantise) {
  ConvertOptions options;
  if (quantise) options.type = DType::F16;
  options.threads = 3;
  options.source = std::move(source);
  return options;
}

std::vector<std::byte> converted(const std::string& location, const SourceOptions& source, bool quantise = false) {
  const TempFolder folder;
  convert(location, folder / "out.safetensors", options_with(source, quantise));
  return read_file(folder / "out.safetensors");
}

class TfjsStream : public testing::TestWithParam<const char*> {};

TEST_P(TfjsStream, IsTheSameAsTheFiles) {
  for (const bool quantise : {false, true}) {
    const auto expected = converted(manifest_of(GetParam()).string(), {}, quantise);
    for (const bool ranges : {false, true}) {
      for (const std::size_t step : {std::size_t{100}, std::size_t{64} << 10}) {
        Shelf shelf(files_of(GetParam(), "s3://models/"), {.step = step, .ranges = ranges});
        EXPECT_EQ(converted("s3://models/model.json", {.fetch = shelf.fetch()}, quantise), expected);
        EXPECT_EQ(shelf.asked().size(), files_of(GetParam(), "").size());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TfjsStream,
                         testing::Values("face_expression", "face_landmark_68_tiny", "tiny_face_detector"),
                         [](const auto& model) { return std::string(model.param); });

/// Two groups, the first in three files that cut its tensors.
std::map<std::string, std::string> small_model() {
  return {{"m/model.json", R"([{"paths":["a","b","c"],"weights":[{"name":"x","shape":[2],"dtype":"int32"},
                              {"name":"y","shape":[3],"dtype":"bool"},{"name":"z","shape":[2],"dtype":"int32"}]},
                              {"paths":["sub/d"],"weights":[{"name":"w","shape":[4],"dtype":"bool"}]}])"},
          {"m/a", "01234"},
          {"m/b", "5678"},
          {"m/c", "9abcdefghi"},
          {"m/sub/d", "ABCD"}};
}

TEST(TfjsStreams, FilesAreOpenedWhenTheirBytesAreAskedFor) {
  Shelf shelf(small_model(), {.step = 3});
  const Checkpoint model = Checkpoint::open("m/model.json", {.source = {.fetch = shelf.fetch()}});
  EXPECT_EQ(model.access(), Access::forward);
  EXPECT_EQ(model.files(), 2U);
  EXPECT_EQ(shelf.asked(), (std::vector<std::string>{"m/model.json", "m/a"}));
  std::string all;
  for (const TensorInfo& tensor : model.tensors()) {
    const auto bytes = bytes_in(model, tensor);
    all.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  EXPECT_EQ(all, "0123456789abcdefghiABCD");
  EXPECT_EQ(shelf.asked(), (std::vector<std::string>{"m/model.json", "m/a", "m/b", "m/c", "m/sub/d"}));
}

TEST(TfjsStreams, ALongerOrShorterFileIsNamed) {
  for (const bool longer : {true, false}) {
    for (const auto& [file, code] : {std::pair("m/c", ErrorCode::format), std::pair("m/sub/d", ErrorCode::format)}) {
      auto files = small_model();
      longer ? files[file].push_back('!') : files[file].pop_back();
      Shelf shelf(std::move(files), {.step = 3});
      const TempFolder folder;
      const auto error = error_of(
          [&] { convert("m/model.json", folder / "out.safetensors", options_with({.fetch = shelf.fetch()}, false)); });
      ASSERT_TRUE(error) << file << longer;
      EXPECT_EQ(error->code(), code);
      EXPECT_EQ(error->detail().file, file);
      EXPECT_TRUE(error->detail().offset);
      EXPECT_TRUE(folder.names().empty());
    }
  }
}

TEST(TfjsStreams, TextIsRefusedByName) {
  Shelf shelf(files_of("crafted", ""), {});
  const auto error = error_of([&] { Checkpoint::open("model.json", {.source = {.fetch = shelf.fetch()}}); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::unsupported);
  EXPECT_EQ(error->detail().tensor, "labels");
  Shelf ranged(files_of("crafted", ""), {.ranges = true});
  EXPECT_EQ(Checkpoint::open("model.json", {.source = {.fetch = ranged.fetch()}}).format(), Format::tfjs);
}

struct Trouble {
  int number;
};

/// Fails after some bytes.
class Failing final : public ByteStream {
 public:
  explicit Failing(int left) : left_(left) {}
  std::size_t read(std::span<std::byte> out) override {
    if (left_-- == 0) throw Trouble{7};
    out.front() = std::byte{1};
    return 1;
  }

 private:
  int left_;
};

TEST(TfjsStreams, WhatTheCallersCodeThrowsReachesTheCaller) {
  for (const bool while_opened : {true, false}) {
    Shelf shelf(small_model());
    SourceOptions source;
    source.fetch = [&](const std::string& location) -> std::shared_ptr<ByteStream> {
      if (location != "m/b") return shelf.fetch()(location);
      if (while_opened) throw Trouble{7};
      return std::make_shared<Failing>(2);
    };
    const TempFolder folder;
    try {
      convert("m/model.json", folder / "out.safetensors", options_with(source, false));
      ADD_FAILURE() << "accepted";
    } catch (const Trouble& trouble) {
      EXPECT_EQ(trouble.number, 7);
    }
    EXPECT_TRUE(folder.names().empty());
  }
  Shelf empty(std::map<std::string, std::string>{});
  EXPECT_THROW(Checkpoint::open("m/model.json", {.source = {.fetch = empty.fetch()}}), std::out_of_range);
}

/// Cancels while it is read; notes whether it is read again.
class Cancelling final : public ByteStream {
 public:
  Cancelling(CancelToken cancel, int& reads) : cancel_(std::move(cancel)), reads_(reads) {}
  std::size_t read(std::span<std::byte> out) override {
    ++reads_;
    cancel_.cancel();
    out.front() = std::byte{1};
    return 1;
  }

 private:
  const CancelToken cancel_;
  int& reads_;
};

TEST(TfjsStreams, NoReadBeginsAfterACancel) {
  int reads = 0;
  const CancelToken cancel;
  Shelf shelf(small_model());
  SourceOptions source;
  source.fetch = [&](const std::string& location) -> std::shared_ptr<ByteStream> {
    if (location != "m/b") return shelf.fetch()(location);
    return std::make_shared<Cancelling>(cancel, reads);
  };
  const TempFolder folder;
  const auto error =
      error_of([&] { convert("m/model.json", folder / "out.safetensors", options_with(source, false), {}, cancel); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::cancelled);
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(shelf.asked(), (std::vector<std::string>{"m/model.json", "m/a"}));
  EXPECT_TRUE(folder.names().empty());
}

TEST(TfjsPlaces, WeightsMayLieElsewhere) {
  const TempFolder folder;
  fs::create_directories(folder / "far/sub");
  fs::create_directories(folder / "near");
  for (const auto& [name, text] : small_model()) {
    write_file(folder.path() / (name.ends_with(".json") ? "near" : "far") / name.substr(2), text);
  }
  const std::string manifest = (folder / "near/model.json").string(), far = (folder / "far").string();
  EXPECT_TRUE(error_of([&] { Checkpoint::open(manifest); }));
  for (const std::string& prefix : {far, far + "/"}) {
    EXPECT_EQ(Checkpoint::open(manifest, {.source = {.weight_path_prefix = prefix}}).tensors().size(), 4U);
  }
  SourceOptions source;
  source.weight_path_prefix = "/nowhere";
  std::vector<std::string> asked;
  source.weight_url_converter = [&](const std::string& file) {
    asked.push_back(file);
    return far + "/" + file;
  };
  EXPECT_EQ(Checkpoint::open(manifest, {.source = source}).tensors().size(), 4U);
  EXPECT_EQ(asked, (std::vector<std::string>{"a", "b", "c", "sub/d"}));
  source.weight_url_converter = [](const std::string&) { return std::string(); };
  EXPECT_EQ(error_of([&] { Checkpoint::open(manifest, {.source = source}); })->code(), ErrorCode::invalid_argument);
}

TEST(TfjsPlaces, APathThatLeadsOutStaysRefused) {
  const TempFolder folder;
  write_file(folder / "model.json",
             std::string_view(R"([{"paths":["../a"],"weights":[{"name":"x","shape":[1],"dtype":"bool"}]}])"));
  SourceOptions source;
  source.weight_url_converter = [&](const std::string&) { return (folder / "model.json").string(); };
  const auto error = error_of([&] { Checkpoint::open((folder / "model.json").string(), {.source = source}); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::format);
}

TEST(TfjsPlaces, AreRefusedForOtherFormats) {
  const TempFolder folder;
  save(folder / "model.safetensors", {random_floats("x", {4, 4}, 1)});
  const std::string model = (folder / "model.safetensors").string();
  SourceOptions prefixed, converted;
  prefixed.weight_path_prefix = "weights";
  converted.weight_url_converter = [](const std::string& file) { return file; };
  for (const SourceOptions& source : {prefixed, converted}) {
    const auto error = error_of([&] { Checkpoint::open(model, {.source = source}); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::invalid_argument);
    EXPECT_EQ(error->detail().file, model);
    EXPECT_EQ(error->detail().found, "safetensors");
  }
}

}  // namespace
}  // namespace headrace::test
