// Folders: which of their files are the model, and what a pipeline's components are called in one file.
#include "format/set/joiner.hpp"
#include "format/set/members.hpp"
#include "format/set/pipeline.hpp"
#include "format/set/weights_choice.hpp"
#include "format/set_support.hpp"

#include <gmock/gmock.h>

#include <algorithm>

namespace headrace::test {
namespace {

using format::Contents;
using format::set::choose_weights;
using format::set::Wish;
using testing::ElementsAre;
using testing::UnorderedElementsAre;

// What is chosen, whatever order the names come in.
Names chosen(Names names, const Wish& wish = {}) {
  std::ranges::sort(names);
  Names found;
  bool first = true;
  int orders = 0;
  do {
    const auto choice = choose_weights("folder", names, wish);
    const Names files = choice ? choice->files : Names{};
    if (first) found = files;
    EXPECT_EQ(files, found);
    first = false;
  } while (std::ranges::next_permutation(names).found && ++orders < 50);
  return found;
}

void expect_no_choice(const Names& names, const Wish& wish, ErrorCode code, const Names& parts) {
  expect_refused([&] { choose_weights("folder", names, wish); }, code, parts);
}

TEST(Choice, PrefersAsTheLibrariesDo) {
  // Each wins over all that follow.
  const Names order = {"model.safetensors.index.json",
                       "diffusion_pytorch_model.safetensors.index.json",
                       "model.safetensors",
                       "diffusion_pytorch_model.safetensors",
                       "pytorch_model.bin.index.json",
                       "anything.safetensors",
                       "anything.gguf",
                       "pytorch_model.bin",
                       "diffusion_pytorch_model.bin",
                       "anything.ckpt",
                       "model.json",
                       "arrays.npz"};
  for (std::size_t i = 0; i < order.size(); ++i)
    EXPECT_THAT(chosen(Names(order.begin() + static_cast<std::ptrdiff_t>(i), order.end())), ElementsAre(order[i]));
}

TEST(Choice, PassesOverWhatIsNoModel) {
  EXPECT_THAT(chosen({"config.json", "tokenizer.json", "README.md", "training_args.bin", "optimizer.pt", "scheduler.pt",
                      "rng_state_0.pth", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", ".gitattributes"}),
              ElementsAre("pytorch_model.bin"));
  EXPECT_THAT(chosen({"config.json", "optimizer.bin", ".safetensors", "x.index.json", "model.npy"}), ElementsAre());
  EXPECT_THAT(chosen({}), ElementsAre());
}

TEST(Choice, TakesShardsWithoutAnIndexTogether) {
  EXPECT_THAT(chosen({"model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin"}),
              ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"));
  EXPECT_THAT(chosen({"pytorch_model-00001-of-00001.bin"}), ElementsAre("pytorch_model-00001-of-00001.bin"));
  EXPECT_THAT(chosen({"model-00001-of-00002.safetensors", "model.safetensors.index.json"}),
              ElementsAre("model.safetensors.index.json"));
  expect_no_choice({"model-00004-of-00004.safetensors", "model-00002-of-00004.safetensors"}, {}, ErrorCode::format,
                   {"shards are missing", "expected 4 shards",
                    "no 'model-00001-of-00004.safetensors', 'model-00003-of-00004.safetensors'"});
}

TEST(Choice, OfManyMissingShardsNamesTheFirst) {
  expect_no_choice({"m-00002-of-99999.safetensors"}, {}, ErrorCode::format,
                   {"no 'm-00001-of-99999.safetensors', 'm-00003-of-99999.safetensors'", "and 99994 more"});
}

TEST(Choice, TakesOnePartOfASplitGguf) {
  EXPECT_THAT(chosen({"m-00002-of-00003.gguf", "m-00001-of-00003.gguf", "m-00003-of-00003.gguf"}),
              ElementsAre("m-00001-of-00003.gguf"));
  EXPECT_THAT(chosen({"m-00003-of-00003.gguf"}), ElementsAre("m-00003-of-00003.gguf"));  // then the others are missed
  EXPECT_THAT(chosen({"model.Q4_K_M.gguf"}), ElementsAre("model.Q4_K_M.gguf"));
}

TEST(Choice, RefusesToGuess) {
  const auto expect_ambiguous = [](const Names& names) {
    expect_no_choice(names, {}, ErrorCode::invalid_argument, {"folder", "more than one checkpoint", "name the file"});
  };
  expect_ambiguous({"a.safetensors", "b.safetensors"});
  expect_ambiguous({"a.gguf", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf"});
  expect_ambiguous({"m-00001-of-00002.gguf", "m-00001-of-00003.gguf"});
  expect_ambiguous({"model-00001-of-00002.safetensors", "model-00001-of-00001.safetensors"});
  expect_ambiguous({"model.bin", "model.pt"});
  expect_ambiguous({"a.npz", "b.npz"});
  Names many;
  for (int i = 0; i < 30; ++i) many.push_back(std::to_string(10 + i) + ".safetensors");
  expect_no_choice(many, {}, ErrorCode::invalid_argument,
                   {"'10.safetensors', '11.safetensors', '12.safetensors', '13.safetensors' and 26 more"});
}

TEST(Choice, TakesAVariantWhenAsked) {
  const Wish fp16{.variant = "fp16"};
  const Names both = {"model.safetensors", "model.fp16.safetensors", "pytorch_model.fp16.bin", "pytorch_model.bin"};
  EXPECT_THAT(chosen(both), ElementsAre("model.safetensors"));
  EXPECT_THAT(chosen(both, fp16), ElementsAre("model.fp16.safetensors"));
  EXPECT_THAT(chosen({"model.safetensors", "pytorch_model.fp16.bin"}, fp16), ElementsAre("pytorch_model.fp16.bin"));
  EXPECT_THAT(chosen({"sd15.fp16.safetensors", "sd15.safetensors"}, fp16), ElementsAre("sd15.fp16.safetensors"));
  const Wish any_name{.variant = "v1"};  // asked for, it is a variant of any name
  EXPECT_THAT(chosen({"x.v1.gguf", "x.gguf"}, any_name), ElementsAre("x.v1.gguf"));
  // All the ways to write it.
  for (const std::string name : {"diffusion_pytorch_model.fp16.safetensors", "model.safetensors.index.fp16.json",
                                 "model.fp16.safetensors.index.json", "pytorch_model.bin.index.fp16.json"}) {
    EXPECT_THAT(chosen({name, "model.safetensors"}, fp16), ElementsAre(name));
    EXPECT_THAT(chosen({name, "model.safetensors"}), ElementsAre("model.safetensors"));
  }
  for (const std::string middle :
       {"model.fp16-0000{}-of-00002.safetensors", "model-0000{}-of-00002.fp16.safetensors"}) {
    const auto shard = [&](const char* number) { return std::string(middle).replace(middle.find("{}"), 2, number); };
    EXPECT_THAT(chosen({shard("2"), shard("1"), "model.safetensors"}, fp16), ElementsAre(shard("1"), shard("2")));
    EXPECT_THAT(chosen({shard("2"), shard("1"), "model.safetensors"}), ElementsAre("model.safetensors"));
    expect_no_choice({shard("2")}, fp16, ErrorCode::format, {shard("1")});
  }
}

TEST(Choice, SaysWhichVariantsThereAre) {
  const Names fp16 = {"model.fp16.safetensors", "pytorch_model.fp16.bin"};
  expect_no_choice(fp16, {}, ErrorCode::invalid_argument, {"found 'fp16'", "--variant fp16"});
  expect_no_choice({"model.fp16.safetensors", "model.ema.safetensors"}, {}, ErrorCode::invalid_argument,
                   {"'ema', 'fp16'", "--variant VARIANT"});
  expect_no_choice(fp16, {.variant = "bf16"}, ErrorCode::invalid_argument, {"expected 'bf16', found 'fp16'"});
  expect_no_choice({"model.safetensors"}, {.variant = "bf16"}, ErrorCode::invalid_argument,
                   {"expected 'bf16', found files without a variant"});
  const Wish fall_back{.variant = "bf16", .or_without_variant = true};
  EXPECT_THAT(chosen({"model.safetensors"}, fall_back), ElementsAre("model.safetensors"));
  expect_no_choice(fp16, fall_back, ErrorCode::invalid_argument, {"expected 'bf16', found 'fp16'"});
}

TEST(PartName, IsReadAndWritten) {
  const auto part = format::set::parse_part("a-b-00002-of-00011");
  ASSERT_TRUE(part);
  EXPECT_EQ(part->base, "a-b");
  EXPECT_EQ(part->number, 2u);
  EXPECT_EQ(part->count, 11u);
  EXPECT_EQ(format::set::file_of_part(part->base, 2, 11, ".gguf"), "a-b-00002-of-00011.gguf");
  for (const char* none :
       {"", "a", "-00001-of-00002", "a-00000-of-00002", "a-00003-of-00002", "a-0001-of-0002", "a-00001-of-0000x",
        "a-+0001-of-00002", "a_00001-of-00002", "a-00001_of_00002", "a-00001-of-000022"})
    EXPECT_FALSE(format::set::parse_part(none)) << none;
}

std::vector<format::set::Component> components(const std::string& json) {
  return format::set::read_pipeline(format::JsonDocument(MemorySource(json, "model_index.json"), kRoomy));
}

TEST(Pipeline, GivesComponentsTheirPrefixes) {
  const auto list = components(R"({"_class_name":"X","_diffusers_version":"0.30","_x":["a","b"],"ratio":0.9,
    "sizes":[1,2],"names":["a","b","c"],"safety_checker":[null,null],"feature_extractor":[null,"CLIPImageProcessor"],
    "scheduler":["diffusers","EulerDiscreteScheduler"],"text_encoder":["transformers","CLIPTextModel"],
    "text_encoder_2":["transformers","CLIPTextModelWithProjection"],"text_encoder_3":["transformers","T5EncoderModel"],
    "tokenizer":["transformers","T5TokenizerFast"],"transformer":["diffusers","SD3Transformer2DModel"],
    "transformer_2":["diffusers","WanTransformer3DModel"],"vae":["diffusers","AutoencoderKL"],
    "image_encoder":["transformers","CLIPVisionModel"]})");
  Names found;
  for (const auto& component : list)
    found.push_back(component.folder + " " + component.prefix + (component.needs_weights ? " +" : " -"));
  EXPECT_THAT(found, ElementsAre("scheduler scheduler. -", "text_encoder text_encoders.clip_l.transformer. +",
                                 "text_encoder_2 text_encoders.clip_g.transformer. +",
                                 "text_encoder_3 text_encoders.t5xxl.transformer. +", "tokenizer tokenizer. -",
                                 "transformer model.diffusion_model. +", "transformer_2 transformer_2. +", "vae vae. +",
                                 "image_encoder image_encoder. +"));
}

TEST(Pipeline, TellsTextEncodersByTheirClass) {
  const auto prefix = [](const std::string& folder, const std::string& class_name) {
    return components("{\"" + folder + "\":[\"transformers\",\"" + class_name + "\"]}").at(0).prefix;
  };
  EXPECT_EQ(prefix("text_encoder", "T5EncoderModel"), "text_encoders.t5xxl.transformer.");
  EXPECT_EQ(prefix("text_encoder_2", "T5EncoderModel"), "text_encoders.t5xxl.transformer.");
  EXPECT_EQ(prefix("text_encoder", "UMT5EncoderModel"), "text_encoders.t5xxl.transformer.");
  EXPECT_EQ(prefix("text_encoder", "Qwen2_5_VLForConditionalGeneration"), "text_encoder.");
  EXPECT_EQ(prefix("unet", "UNet2DConditionModel"), "model.diffusion_model.");
  EXPECT_EQ(prefix("movq", "VQModel"), "movq.");
}

TEST(Pipeline, RefusesWhatCantBe) {
  const auto expect_bad = [](const std::string& json, ErrorCode code, const Names& parts) {
    expect_refused([&] { components(json); }, code, parts);
  };
  expect_bad("[]", ErrorCode::format, {"model_index.json", "expected an object"});
  for (const std::string name : {"../x", "/etc", "a/b", "..", ".", "", "C:", "a\\\\b", "a\\u0000b"})
    expect_bad("{\"" + name + R"(":["diffusers","X"]})", ErrorCode::format, {"no name of a folder"});
  expect_bad(R"({"vae":["a","X"],"vae":["a","X"]})", ErrorCode::format, {"listed twice", "'vae'"});
  expect_bad(R"({"unet":["a","X"],"transformer":["a","X"]})", ErrorCode::conflict,
             {"one prefix", "'model.diffusion_model.' for 'unet' and 'transformer'", "--component"});
  std::string many = "{";
  for (int i = 0; i < 300; ++i) many += (i ? ",\"c" : "\"c") + std::to_string(i) + R"(":["a","X"])";
  expect_bad(many + "}", ErrorCode::unsupported, {"too many components"});
}

class PipelineFolder : public testing::Test {
 protected:
  PipelineFolder() {
    write_file(folder / "model_index.json", R"({"unet":["diffusers","UNet2DConditionModel"],
      "scheduler":["diffusers","DDIMScheduler"],"text_encoder":["transformers","CLIPTextModel"],
      "vae":["diffusers","AutoencoderKL"]})");
    for (const char* name : {"unet", "scheduler", "text_encoder", "vae"})
      std::filesystem::create_directory(folder / name);
    write_file(folder / "scheduler" / "scheduler_config.json", "{}");
    write("unet/diffusion_pytorch_model.safetensors", {"in"}, R"({"format":"pt","only":"unet"})");
    write("text_encoder/model.safetensors", {"in"}, R"({"format":"pt"})");
    write("vae/diffusion_pytorch_model.safetensors", {"in", "vae.out"}, R"({"format":"pt","only":"vae"})");
  }
  void write(const std::string& file, const Names& names, const std::string& metadata = "") {
    write_file(folder / file, named_safetensors(names, metadata));
  }
  Contents open(const std::string& variant = "") {
    SourceOptions options;
    options.variant = variant;
    return open_at(folder.path(), options);
  }
  static constexpr const char* kUnet = "model.diffusion_model.in";
  static constexpr const char* kText = "text_encoders.clip_l.transformer.in";
  TempFolder folder;
};

TEST_F(PipelineFolder, IsOneListUnderPrefixes) {
  const Contents contents = open();
  EXPECT_THAT(names_of(contents), ElementsAre(kUnet, kText, "vae.in", "vae.out"));
  EXPECT_EQ(bytes_of(contents, kUnet), "in");
  EXPECT_EQ(bytes_of(contents, "vae.out"), "vae.out");
  EXPECT_EQ(contents.files.size(), 3u);
  EXPECT_THAT(pairs_of(contents), ElementsAre("format=pt"));  // models side by side: what all of them say
}

TEST_F(PipelineFolder, ComponentsMayBeSharded) {
  std::filesystem::remove(folder / "unet/diffusion_pytorch_model.safetensors");
  write("unet/diffusion_pytorch_model-00001-of-00002.safetensors", {"a"});
  write("unet/diffusion_pytorch_model-00002-of-00002.safetensors", {"b"});
  const auto names =
      UnorderedElementsAre("model.diffusion_model.a", "model.diffusion_model.b", kText, "vae.in", "vae.out");
  EXPECT_THAT(names_of(open()), names);
  write_file(folder / "unet/diffusion_pytorch_model.safetensors.index.json",
             index_of({{"a", "diffusion_pytorch_model-00001-of-00002.safetensors"},
                       {"b", "diffusion_pytorch_model-00002-of-00002.safetensors"}}));
  EXPECT_THAT(names_of(open()), names);
}

TEST_F(PipelineFolder, ComponentsWithoutTheVariantComeWithoutIt) {
  write("unet/diffusion_pytorch_model.fp16.safetensors", {"half"});
  EXPECT_THAT(names_of(open("fp16")), ElementsAre("model.diffusion_model.half", kText, "vae.in", "vae.out"));
  EXPECT_THAT(names_of(open()), ElementsAre(kUnet, kText, "vae.in", "vae.out"));
  expect_refused([&] { open("bf16"); }, ErrorCode::invalid_argument, {"no component", "'bf16'"});
  std::filesystem::remove(folder / "unet/diffusion_pytorch_model.safetensors");
  expect_refused([&] { open(); }, ErrorCode::invalid_argument, {"unet", "--variant fp16"});
}

TEST_F(PipelineFolder, RefusesAComponentWithoutItsWeights) {
  std::filesystem::remove_all(folder / "vae");
  expect_refused([&] { open(); }, ErrorCode::format, {"vae", "has no weights", "weights of AutoencoderKL"});
  std::filesystem::create_directory(folder / "vae");
  expect_refused([&] { open(); }, ErrorCode::format, {"vae", "has no weights"});
  write_file(folder / "model_index.json", R"({"scheduler":["diffusers","DDIMScheduler"],"vae":[null,null]})");
  expect_refused([&] { open(); }, ErrorCode::format, {"no component with weights"});
}

TEST_F(PipelineFolder, NamesThatMeetAreAConflict) {
  write("vae/diffusion_pytorch_model.safetensors", {"in", "vae.in"});
  expect_refused([&] { open(); }, ErrorCode::conflict, {"tensor 'vae.in'", "get this name"});
}

TEST(Folder, OfAModelIsOpened) {
  const TempFolder folder;
  expect_refused([&] { open_at(folder.path()); }, ErrorCode::format, {"no checkpoint in this folder", "*.gguf"});
  write_file(folder / "config.json", "{}");
  write_file(folder / "b-00002-of-00002.safetensors", named_safetensors({"b"}, R"({"x":"1"})"));
  write_file(folder / "b-00001-of-00002.safetensors", named_safetensors({"a"}));
  const Contents shards = open_at(folder.path());
  EXPECT_THAT(names_of(shards), ElementsAre("a", "b"));
  EXPECT_EQ(bytes_of(shards, "b"), "b");
  EXPECT_THAT(pairs_of(shards), ElementsAre("x=1"));
  write_file(folder / "b-00002-of-00002.safetensors", named_safetensors({"a"}));
  expect_refused([&] { open_at(folder.path()); }, ErrorCode::conflict, {"tensor 'a'", "b-00001", "b-00002"});
  write_file(folder / "model.safetensors", named_safetensors({"m"}));
  EXPECT_THAT(names_of(open_at(folder.path())), ElementsAre("m"));
  EXPECT_THAT(names_of(open_at(folder.path() / "")), ElementsAre("m"));  // with a slash at the end
}

TEST(Folder, FollowsLinks) {
  const TempFolder cache;
  std::filesystem::create_directories(cache / "blobs");
  std::filesystem::create_directories(cache / "snapshot");
  write_file(cache / "blobs" / "0123", named_safetensors({"a"}));
  write_file(cache / "blobs" / "4567", named_safetensors({"b"}));
  std::filesystem::create_symlink("../blobs/0123", cache / "snapshot" / "model-00001-of-00002.safetensors");
  std::filesystem::create_symlink("../blobs/4567", cache / "snapshot" / "model-00002-of-00002.safetensors");
  EXPECT_THAT(names_of(open_at(cache / "snapshot")), ElementsAre("a", "b"));
  // A link without its file is a model that isn't there yet, not a reason to take another.
  std::filesystem::create_symlink("../blobs/none", cache / "snapshot" / "model.safetensors");
  expect_refused([&] { open_at(cache / "snapshot"); }, ErrorCode::io, {"model.safetensors"});
  std::filesystem::create_directory_symlink("snapshot", cache / "link.safetensors");
  expect_refused([&] { open_at(cache.path()); }, ErrorCode::format, {"no checkpoint in this folder"});
}

TEST(Joiner, MovesWhatIsSaidOfATensorWithIt) {
  const auto member = [](const std::string& name, double scale) {
    Contents contents;
    const auto source = std::make_shared<MemorySource>(named_safetensors({"first" + name, name}), name);
    contents.header = format::read_header(*source, kRoomy);
    contents.header.stored[1] = format::Affine{DType::U8, scale, 0};
    contents.files.push_back(source);
    return contents;
  };
  format::set::Joiner joiner("set", kRoomy);
  joiner.add(member("a", 1));
  joiner.add(member("b", 2), "p.");
  const Contents contents = std::move(joiner).take(format::set::KeptPairs::of_any);
  ASSERT_THAT(names_of(contents), ElementsAre("firsta", "a", "p.firstb", "p.b"));
  ASSERT_EQ(contents.header.stored.size(), 2u);
  const auto scale = [&](std::size_t i) {
    return std::get<format::Affine>(contents.header.stored_as(contents.header.tensors.tensors()[i])).scale;
  };
  EXPECT_EQ(scale(1), 1);
  EXPECT_EQ(scale(3), 2);
}

TEST(Joiner, ManyKeysTakeNoLongerThanTheyMust) {
  std::string metadata = "{";
  for (int i = 0; i < 100'000; ++i) metadata += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":\"v\"";
  const std::string one = named_safetensors({}, metadata + "}"),
                    other = named_safetensors({}, metadata + ",\"z\":\"\"}");
  format::set::Joiner joiner("set", kRoomy);
  for (const std::string& bytes : {one, other, one}) {
    Contents contents;
    const auto source = std::make_shared<MemorySource>(bytes);
    contents.header = format::read_header(*source, kRoomy);
    contents.files.push_back(source);
    joiner.add(std::move(contents));
  }
  EXPECT_EQ(std::move(joiner).take(format::set::KeptPairs::of_all).header.metadata.size(), 100'000u);
}

}  // namespace
}  // namespace headrace::test
