// TensorFlow.js: real models, a crafted one, manifests made by hand, and hostile ones (tests/data/bad/tfjs, made by
// make.py there).
#include "format/tfjs/tfjs.hpp"
#include "format/tfjs/manifest_reader.hpp"

#include "codec/sha256.hpp"
#include "format/support.hpp"
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/convert.hpp>
#include <headrace/verify.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <map>
#include <set>

namespace headrace::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::string_literals::operator""s;

const fs::path kGolden = HEADRACE_TEST_DATA "/golden/tfjs";
const fs::path kBad = HEADRACE_TEST_DATA "/bad/tfjs";

/// The manifest in a folder: model.json, or *manifest.json.
fs::path manifest_in(const fs::path& folder) {
  for (const auto& file : fs::directory_iterator(folder)) {
    const std::string name = file.path().filename();
    if (name.ends_with(".json") && name != "expected.json") return file.path();
  }
  throw std::runtime_error("no manifest in " + folder.string());
}

DType dtype_of(const std::string& name) {
  if (name == "string") return DType::STRING;
  return parse_dtype(name).value();  // torch calls them so, too
}

class GoldenTfjs : public testing::TestWithParam<const char*> {
 protected:
  const fs::path folder = kGolden / GetParam();
  const json expected = json::parse(read_file((folder / "expected.json").string()));
  const Checkpoint checkpoint = Checkpoint::open(manifest_in(folder).string());
};

TEST_P(GoldenTfjs, DecodesToWhatTfjsMakesOfIt) {
  EXPECT_EQ(checkpoint.format(), Format::tfjs);
  ASSERT_EQ(checkpoint.tensors().size(), expected.size());
  for (const auto& [name, tensor] : expected.items()) {
    SCOPED_TRACE(name);
    const TensorInfo* const found = checkpoint.find(name);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->dtype, dtype_of(tensor.at("dtype")));
    EXPECT_EQ(std::vector<std::uint64_t>(found->shape.begin(), found->shape.end()),
              tensor.at("shape").get<std::vector<std::uint64_t>>());
    EXPECT_EQ(found->bytes, tensor.value("bytes", found->bytes));
    EXPECT_EQ(codec::sha256(bytes_in(checkpoint, *found)), tensor.at("sha256"));
  }
}

// Each byte alone, and pieces that begin and end anywhere, are the same bytes.
TEST_P(GoldenTfjs, ReadsInPiecesOfAnySize) {
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (tensor.bytes > 20'000) continue;
    const std::vector<std::byte> whole = bytes_in(checkpoint, tensor);
    for (const std::size_t step : {1, 3, 7, 4096}) {
      std::vector<std::byte> pieces(whole.size());
      for (std::size_t at = 0; at < whole.size(); at += step) {
        checkpoint.read(tensor, at, std::span(pieces).subspan(at, std::min(step, whole.size() - at)));
      }
      EXPECT_EQ(pieces, whole) << tensor.name << " by " << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTfjs,
                         testing::Values("crafted", "face_expression", "face_landmark_68_tiny", "tiny_face_detector"),
                         [](const auto& model) { return std::string(model.param); });

TEST(Tfjs, ConvertsToSafetensorsAndVerifies) {
  const TempFolder folder;
  const std::string model = manifest_in(kGolden / "face_expression").string();
  convert(model, folder / "out.safetensors");
  const Checkpoint in = Checkpoint::open(model), out = Checkpoint::open((folder / "out.safetensors").string());
  ASSERT_EQ(out.tensors().size(), in.tensors().size());
  for (const TensorInfo& tensor : in.tensors()) {
    EXPECT_EQ(bytes_in(in, tensor), bytes_in(out, *out.find(tensor.name))) << tensor.name;
  }
  EXPECT_TRUE(verify(in, out).same(0));
}

TEST(Tfjs, TextIsRefusedByNameWhereNoFormatHoldsIt) {
  const TempFolder folder;
  for (const char* name : {"out.safetensors", "out.gguf"}) {
    try {
      convert(manifest_in(kGolden / "crafted").string(), folder / name);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      EXPECT_NE(error.problem().find("can't hold"), std::string::npos) << error.what();
    }
  }
  EXPECT_TRUE(folder.names().empty());
}

/// Files in memory, by their paths.
using Files = std::map<std::string, std::string, std::less<>>;

format::Contents read(const std::string& text, const Files& files, std::uint64_t memory = kRoomy) {
  const format::JsonDocument document(MemorySource(text, "model.json"), memory);
  EXPECT_TRUE(format::tfjs::is_manifest(document));
  return format::tfjs::read_manifest(document, memory, [&files](std::string_view path, const CancelToken&) {
    const auto at = files.find(path);
    if (at == files.end()) throw Error(ErrorCode::io, "no such file", {.file = std::string(path)});
    return std::make_shared<MemorySource>(at->second, at->first);
  });
}

std::optional<Error> error_of_manifest(const std::string& text, const Files& files, std::uint64_t memory = kRoomy) {
  try {
    read(text, files, memory);
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

std::string group(const std::string& paths, const std::string& weights) {
  return R"({"paths":[)" + paths + R"(],"weights":[)" + weights + "]}";
}

std::string weight(const std::string& name, const std::string& shape, const std::string& dtype,
                   const std::string& quantization = {}) {
  return R"({"name":")" + name + R"(","shape":)" + shape + R"(,"dtype":")" + dtype + "\"" +
         (quantization.empty() ? "" : R"(,"quantization":)" + quantization) + "}";
}

TEST(TfjsManifest, CutsTensorsOutOfFilesThatAreOne) {
  const auto contents =
      read("[" +
               group(R"("a","b","c")", weight("x", "[2]", "float32") + "," + weight("y", "[3]", "bool") + "," +
                                           weight("z", "[]", "complex64")) +
               "," + group(R"("d")", weight("w", "[1,1]", "int32")) + "]",
           {{"a", "01234"}, {"b", ""}, {"c", "56789abcdefghi"}, {"d", "ABCD"}});
  ASSERT_EQ(contents.files.size(), 2u);
  EXPECT_EQ(contents.files[0]->size(), 19u);
  EXPECT_EQ(contents.files[0]->name(), "a and 2 more");
  EXPECT_EQ(contents.files[1]->name(), "d");
  const auto tensors = contents.header.tensors.tensors();
  ASSERT_EQ(tensors.size(), 4u);
  const std::vector<std::string> expected = {"01234567", "89a", "bcdefghi", "ABCD"};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::string bytes(tensors[i].bytes, '?');
    contents.files[tensors[i].file]->read_at(tensors[i].offset, std::as_writable_bytes(std::span(bytes)));
    EXPECT_EQ(bytes, expected[i]);
    EXPECT_EQ(tensors[i].encoding, Encoding::plain);
  }
  EXPECT_EQ(tensors[2].dtype, DType::C64);
  EXPECT_TRUE(contents.header.stored.empty());
}

TEST(TfjsManifest, QuantizedTensorsAreAsLargeAsTheyDecodeTo) {
  const auto contents = read(
      "[" +
          group(R"("a")",
                weight("x", "[3]", "float32", R"({"dtype":"uint8","scale":0.5,"min":-1})") + "," +
                    weight("y", "[1]", "int32", R"({"min":1e3,"dtype":"uint16","scale":2,"original_dtype":"int32"})") +
                    "," + weight("z", "[2]", "float32", R"({"dtype":"float16"})")) +
          "]",
      {{"a", "123456789"}});
  const auto tensors = contents.header.tensors.tensors();
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].bytes, 12u);
  EXPECT_EQ(tensors[1].offset, 3u);
  EXPECT_EQ(tensors[1].bytes, 4u);
  EXPECT_EQ(tensors[2].offset, 5u);
  const auto how = [&](std::size_t i) {
    EXPECT_EQ(tensors[i].encoding, Encoding::affine);
    return std::get<format::Affine>(contents.header.stored_as(tensors[i]));
  };
  EXPECT_EQ(how(0).stored, DType::U8);
  EXPECT_EQ(how(0).scale, 0.5);
  EXPECT_EQ(how(0).min, -1);
  EXPECT_EQ(how(1).stored, DType::U16);
  EXPECT_EQ(how(1).scale, 2);
  EXPECT_EQ(how(1).min, 1000);
  EXPECT_EQ(how(2).stored, DType::F16);
}

TEST(TfjsManifest, StringsAreMeasuredInTheFile) {
  const std::string strings = raw(3u) + "abc" + raw(0u) + raw(70'000u) + std::string(70'000, 'x') + raw(1u) + "z";
  const auto contents =
      read("[" + group(R"("a","b")", weight("s", "[2,2]", "string") + "," + weight("t", "[1]", "bool")) + "]",
           {{"a", strings.substr(0, 9)}, {"b", strings.substr(9) + "!"}});
  const auto tensors = contents.header.tensors.tensors();
  EXPECT_EQ(tensors[0].bytes, strings.size());
  EXPECT_EQ(tensors[0].elements, 4u);
  EXPECT_EQ(tensors[1].offset, strings.size());
}

TEST(TfjsManifest, NothingIsFine) {
  EXPECT_TRUE(read("[]", {}).files.empty());
  EXPECT_EQ(read(R"([{"paths":[],"weights":[]}])", {}).files.size(), 1u);
  const auto contents =
      read("[" + group("", weight("e", "[0,3]", "string") + "," + weight("f", "[0]", "float32")) + "]", {});
  EXPECT_EQ(contents.header.tensors.tensors()[0].bytes, 0u);
}

TEST(TfjsManifest, UnknownMembersArePassedOver) {
  const auto contents = read(
      R"({"format":"layers-model","generatedBy":"keras v2","convertedBy":null,"modelTopology":{"a":[{"paths":1}]},)"
      R"("weightsManifest":[{"paths":["a"],"weights":[{"name":"x","shape":[1],"dtype":"bool","group":"g"}],"x":0}]})",
      {{"a", "1"}});
  EXPECT_EQ(contents.header.tensors.tensors().size(), 1u);
  const Metadata& metadata = contents.header.metadata;
  ASSERT_EQ(metadata.size(), 1u);
  EXPECT_EQ(metadata.key(0), "generatedBy");
  EXPECT_EQ(metadata.value(0).as_string(), "keras v2");
}

TEST(TfjsManifest, LargeDoublesAndMinusZeroAreNumbers) {
  const auto contents =
      read("[" +
               group(R"("a")",
                     weight("x", "[1]", "float32", R"({"dtype":"uint8","scale":18446744073709551615,"min":-0.0})")) +
               "]",
           {{"a", "1"}});
  const auto& how = std::get<format::Affine>(contents.header.stored_as(contents.header.tensors.tensors()[0]));
  EXPECT_EQ(how.scale, 18446744073709551616.0);
  EXPECT_TRUE(std::signbit(how.min));
}

// However many there are of whatever: with little memory it is refused for that, and nothing else goes wrong.
TEST(TfjsManifest, MemoryIsAskedForBeforeItIsTaken) {
  std::string weights, paths, groups;
  Files files;
  for (int i = 0; i < 20'000; ++i) {
    const std::string name = std::to_string(i);
    weights += (i == 0 ? "" : ",") + weight(name, "[1]", "float32", R"({"dtype":"uint8","scale":1,"min":0})");
    paths += (i == 0 ? "\"" : ",\"") + name + "\"";
    groups += (i == 0 ? "" : ",") + R"({"paths":[],"weights":[]})"s;
    files.emplace(name, "1");
  }
  const std::vector<std::string> manifests = {"[" + group(paths, weights) + "]", "[" + groups + "]"};
  for (const std::string& text : manifests) {
    const std::uint64_t document = text.size() * 6;
    std::optional<Error> error = error_of_manifest(text, files, document + (std::uint64_t{1} << 20));
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::budget) << error->what();
    const std::uint64_t enough = document + (std::uint64_t{48} << 20);
    EXPECT_LE(read(text, files, enough).memory(), enough - document);
  }
}

TEST(TfjsManifest, TooManyFilesAreRefused) {
  std::string paths;
  for (int i = 0; i < 70'000; ++i) paths += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\"";
  const format::JsonDocument document(MemorySource("[" + group(paths, "") + "]"), kRoomy);
  const auto empty = std::make_shared<MemorySource>("");
  EXPECT_THROW(
      format::tfjs::read_manifest(document, kRoomy, [&](std::string_view, const CancelToken&) { return empty; }),
      Error);
}

const json kReasons = json::parse(read_file((kBad / "reasons.json").string()));

TEST(BadTfjs, HaveAReasonEachAndNoneIsMissing) {
  std::set<std::string> listed, there;
  for (const auto& [file, expected] : kReasons.items()) {
    listed.insert(file);
    EXPECT_FALSE(expected.at("reason").get<std::string>().empty()) << file;
    EXPECT_FALSE(expected.at("error").get<std::string>().empty()) << file;
  }
  for (const auto& file : fs::directory_iterator(kBad)) {
    if (file.path().extension() == ".json" && file.path().filename() != "reasons.json")
      there.insert(file.path().filename());
  }
  EXPECT_EQ(listed, there);
  EXPECT_GE(there.size(), 100u);
}

void expect_refused(const json& expected, const fs::path& manifest, const Error& error) {
  EXPECT_EQ(to_string(error.code()), expected.value("code", "format")) << error.what();
  EXPECT_NE(std::string_view(error.what()).find(expected.at("error").get<std::string>()), std::string_view::npos)
      << error.what();
  EXPECT_EQ(fs::path(error.detail().file), kBad / expected.value("file", manifest.filename())) << error.what();
  EXPECT_EQ(error.detail().tensor, expected.value("tensor", "")) << error.what();
  ASSERT_EQ(error.detail().offset.has_value(), expected.contains("offset")) << error.what();
  EXPECT_EQ(error.detail().offset.value_or(0), expected.value("offset", std::uint64_t{0})) << error.what();
}

TEST(BadTfjs, AreRefusedForTheirReason) {
  for (const auto& [file, expected] : kReasons.items()) {
    SCOPED_TRACE(file);
    try {
      Checkpoint::open((kBad / file).string());
      ADD_FAILURE() << "accepted, but: " << expected.at("reason");
    } catch (const Error& error) {
      expect_refused(expected, kBad / file, error);
    }
  }
}

TEST(BadTfjs, NeedLittleMemoryToBeRefused) {
  for (const auto& [file, expected] : kReasons.items()) {
    try {
      Checkpoint::open((kBad / file).string(), {.memory = std::uint64_t{4} << 20});
      ADD_FAILURE() << "accepted: " << file;
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::budget) << file << ": " << error.what();
    }
  }
}

TEST(BadTfjs, CutAnywhereAreHandled) {
  const Files files = {{"four.bin", read_file((kBad / "four.bin").string())},
                       {"eight.bin", read_file((kBad / "eight.bin").string())},
                       {"strings.bin", read_file((kBad / "strings.bin").string())}};
  for (const auto& [file, expected] : kReasons.items()) {
    const std::string text = read_file((kBad / file).string());
    if (text.size() > 4096) continue;
    for (std::size_t size = 0; size < text.size(); ++size) {
      try {
        const format::JsonDocument document(MemorySource(text.substr(0, size)), kRoomy);
        if (!format::tfjs::is_manifest(document)) continue;
        error_of_manifest(text.substr(0, size), files);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::format) << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace headrace::test
