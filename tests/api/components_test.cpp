// Several inputs in one output.
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace headrace {
namespace {

using test::bytes_in;
using test::random_bytes;
using test::random_floats;
using test::save;
using test::TempFolder;

bool mentions(const Plan& plan, std::string_view text) {
  return std::ranges::any_of(plan.notes(),
                             [&](const std::string& note) { return note.find(text) != std::string::npos; });
}

TEST(Components, EveryTensorArrivesUnderItsPrefixedName) {
  const TempFolder folder;
  save(folder / "model.safetensors", {random_floats("model.a", {8, 64}, 1), random_bytes("ids", DType::I64, {5}, 2)});
  save(folder / "vae.gguf", {random_floats("conv", {4, 32}, 3), random_floats("vae.has_it", {64}, 4)});
  std::vector<test::TestTensor> many;
  for (unsigned i = 0; i < 500; ++i) many.push_back(random_floats("t" + std::to_string(i), {i % 5, 32}, i));
  save(folder / "text.safetensors", many);
  const std::vector<Input> inputs = {
      {folder / "model.safetensors"}, {folder / "vae.gguf", "vae."}, {folder / "text.safetensors", "text."}};
  for (const char* output : {"all.gguf", "all.safetensors"}) {
    SCOPED_TRACE(output);
    for (const unsigned threads : {1U, 3U}) {
      convert(plan_conversion(inputs, folder / output, {.threads = threads, .force = true}));
      const Checkpoint all = Checkpoint::open(folder / output);
      ASSERT_EQ(all.tensors().size(), 504U);
      for (const Input& input : inputs) {
        const Checkpoint part = Checkpoint::open(input.location);
        for (const TensorInfo& tensor : part.tensors()) {
          const bool has_it = tensor.name.starts_with(input.prefix);
          const TensorInfo* there = all.find((has_it ? "" : input.prefix) + std::string(tensor.name));
          ASSERT_NE(there, nullptr) << tensor.name;
          EXPECT_EQ(there->dtype, tensor.dtype);
          EXPECT_EQ(to_string(there->shape), to_string(tensor.shape));
          EXPECT_EQ(bytes_in(all, *there), bytes_in(part, tensor));
        }
      }
    }
  }
}

TEST(Components, ThePlanSaysWhereEachTensorComesFrom) {
  const TempFolder folder;
  save(folder / "a.safetensors", {random_floats("x", {2, 32}, 1)});
  save(folder / "b.gguf", {random_floats("y", {2, 32}, 2)});
  const std::vector<Input> inputs = {{folder / "a.safetensors"}, {folder / "b.gguf", "b."}};
  const Plan plan = plan_conversion(inputs, folder / "out.gguf", {.type = DType::Q8_0});
  ASSERT_EQ(plan.inputs().size(), 2U);
  EXPECT_EQ(plan.from(0), Format::safetensors);
  EXPECT_EQ(plan.from(1), Format::gguf);
  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[0].input, 0U);
  EXPECT_EQ(plan[0].name, "x");
  EXPECT_EQ(plan[1].input, 1U);
  EXPECT_EQ(plan[1].name, "b.y");
  EXPECT_EQ(plan[1].source_name, "y");
}

TEST(Components, ANameClaimedTwiceNamesBothFiles) {
  const TempFolder folder;
  save(folder / "a.safetensors", {random_floats("x", {2, 32}, 1), random_floats("vae.y", {32}, 2)});
  save(folder / "b.safetensors", {random_floats("y", {2, 32}, 3)});
  const auto message_of = [&](const std::vector<Input>& inputs) -> std::string {
    try {
      static_cast<void>(plan_conversion(inputs, folder / "out.gguf"));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::conflict);
      EXPECT_EQ(error.detail().tensor, "vae.y");
      return error.what();
    }
    return "";
  };
  const std::string two = message_of({{folder / "a.safetensors"}, {folder / "b.safetensors", "vae."}});
  EXPECT_NE(two.find("a.safetensors'"), std::string::npos) << two;
  EXPECT_NE(two.find("b.safetensors' (as 'y')"), std::string::npos) << two;

  save(folder / "c.safetensors", {random_floats("vae.y", {2, 32}, 3), random_floats("y", {2, 32}, 3)});
  const std::string one = message_of({{folder / "c.safetensors", "vae."}});
  EXPECT_NE(one.find("c.safetensors' (as 'y')"), std::string::npos) << one;
}

struct Described {
  Metadata model, part;

  Described() {
    model.set_string("general.architecture", "flux");
    model.set_string("general.license", "mit");
    model.set_string("general.name", "one");
    model.set_u32("general.file_type", 1);
    model.set_u32("general.alignment", 64);
    part.set_string("general.license", "mit");
    part.set_string("general.name", "two");
    part.set_string("author", "someone");
  }
};

TEST(Components, TheModelsMetadataStaysAndItsPartsGoes) {
  const TempFolder folder;
  const Described described;
  save(folder / "a.gguf", {random_floats("x", {2, 32}, 1)}, described.model);
  save(folder / "b.safetensors", {random_floats("y", {2, 32}, 2)}, described.part);
  const std::vector<Input> inputs = {{folder / "b.safetensors", "vae."}, {folder / "a.gguf"}};
  const Plan plan = plan_conversion(inputs, folder / "out.gguf");
  EXPECT_EQ(plan.metadata().find("general.architecture")->as_string(), "flux");
  EXPECT_EQ(plan.metadata().find("general.license")->as_string(), "mit");
  EXPECT_EQ(plan.metadata().find("general.name")->as_string(), "one");
  EXPECT_FALSE(plan.metadata().find("author"));
  EXPECT_FALSE(plan.metadata().find("general.alignment"));
  EXPECT_EQ(plan.metadata().find("general.file_type")->as_u64(), 0U);
  EXPECT_TRUE(mentions(plan, "b.safetensors' alone is left out: 2 pairs, the first 'general.name'"));
  EXPECT_FALSE(mentions(plan, "a.gguf' alone"));
  convert(plan);
  EXPECT_EQ(Checkpoint::open(folder / "out.gguf").tensors().size(), 2U);
}

TEST(Components, OfPartsAloneOnlyWhatAllSayStays) {
  const TempFolder folder;
  const Described described;
  save(folder / "a.gguf", {random_floats("x", {2, 32}, 1)}, described.model);
  save(folder / "b.safetensors", {random_floats("y", {2, 32}, 2)}, described.part);
  const std::vector<Input> inputs = {{folder / "a.gguf", "a."}, {folder / "b.safetensors", "b."}};
  for (const char* output : {"out.gguf", "out.safetensors"}) {
    const Plan plan = plan_conversion(inputs, folder / output);
    EXPECT_EQ(plan.metadata().find("general.license")->as_string(), "mit");
    EXPECT_FALSE(plan.metadata().find("general.architecture"));
    EXPECT_FALSE(plan.metadata().find("general.name"));
    EXPECT_FALSE(plan.metadata().find("author"));
    EXPECT_TRUE(mentions(plan, "on which the inputs disagree: pair 'general.name'"));
    EXPECT_TRUE(mentions(plan, "a.gguf' alone is left out: pair 'general.architecture'"));
    EXPECT_TRUE(mentions(plan, "b.safetensors' alone is left out: pair 'author'"));
  }
  const Plan named = plan_conversion(inputs, folder / "out.gguf", {.architecture = "sd3"});
  EXPECT_EQ(named.metadata().find("general.architecture")->as_string(), "sd3");
}

TEST(Components, AnArchitectureIsNotReplacedSilently) {
  const TempFolder folder;
  const Described described;
  save(folder / "a.gguf", {random_floats("x", {2, 32}, 1)}, described.model);
  save(folder / "b.gguf", {random_floats("y", {2, 32}, 2)}, described.model);
  const std::vector<Input> both = {{folder / "a.gguf"}, {folder / "b.gguf", "b."}};
  EXPECT_TRUE(mentions(plan_conversion(both, folder / "out.gguf", {.architecture = "sd3"}), "\"flux\" is replaced by"));
  EXPECT_TRUE(
      mentions(plan_conversion(folder / "a.gguf", folder / "out.gguf", {.architecture = "sd3"}), "is replaced by"));
  EXPECT_FALSE(mentions(plan_conversion(both, folder / "out.gguf", {.architecture = "flux"}), "is replaced by"));
}

TEST(Components, RecordedShapesFollowTheirTensors) {
  const TempFolder folder;
  save(folder / "deep.safetensors", {random_floats("deep", {2, 1, 3, 2, 4}, 1), random_floats("one", {}, 2)});
  convert(folder / "deep.safetensors", folder / "deep.gguf");
  save(folder / "other.safetensors", {random_floats("one", {}, 3), random_floats("deep", {1, 2, 1, 1, 2}, 4)});
  const std::vector<Input> inputs = {{folder / "deep.gguf", "a."}, {folder / "other.safetensors", "b."}};
  convert(plan_conversion(inputs, folder / "all.gguf"));
  convert(folder / "all.gguf", folder / "all.safetensors");
  const Checkpoint all = Checkpoint::open(folder / "all.safetensors");
  EXPECT_EQ(to_string(all.find("a.deep")->shape), "[2, 1, 3, 2, 4]");
  EXPECT_EQ(to_string(all.find("a.one")->shape), "[]");
  EXPECT_EQ(to_string(all.find("b.one")->shape), "[]");
  EXPECT_EQ(to_string(all.find("b.deep")->shape), "[1, 2, 1, 1, 2]");

  convert(plan_conversion(std::vector<Input>{{folder / "deep.gguf", "p."}}, folder / "one.gguf"));
  convert(folder / "one.gguf", folder / "one.safetensors");
  const Checkpoint one = Checkpoint::open(folder / "one.safetensors");
  EXPECT_EQ(to_string(one.find("p.deep")->shape), "[2, 1, 3, 2, 4]");
  EXPECT_EQ(to_string(one.find("p.one")->shape), "[]");
}

TEST(Components, NoneOfTheInputsMayBeTheOutput) {
  const TempFolder folder;
  save(folder / "a.safetensors", {random_floats("x", {2, 32}, 1)});
  save(folder / "b.safetensors", {random_floats("y", {2, 32}, 2)});
  const std::vector<Input> inputs = {{folder / "a.safetensors"}, {folder / "b.safetensors"}};
  const auto before = test::read_file(folder / "b.safetensors");
  const Plan plan = plan_conversion(inputs, folder / "b.safetensors", {.force = true});
  EXPECT_THROW(convert(plan), Error);
  EXPECT_EQ(test::read_file(folder / "b.safetensors"), before);
}

TEST(Components, NoInputIsAnError) {
  const TempFolder folder;
  EXPECT_THROW(static_cast<void>(plan_conversion(std::span<const Input>(), folder / "out.gguf")), Error);
}

TEST(Components, TheBudgetHoldsAllHeaders) {
  const TempFolder folder;
  std::vector<test::TestTensor> many;
  for (unsigned i = 0; i < 4000; ++i) many.push_back(random_floats("tensor." + std::to_string(i), {0, 32}, i));
  save(folder / "a.safetensors", many);
  const std::uint64_t one = Checkpoint::open(folder / "a.safetensors").memory();
  const std::vector<Input> inputs = {{folder / "a.safetensors", "a."}, {folder / "a.safetensors", "b."}};
  EXPECT_NO_THROW(static_cast<void>(plan_conversion(inputs, folder / "out.gguf", {.memory = 16 * one})));
  try {
    static_cast<void>(plan_conversion(inputs, folder / "out.gguf", {.memory = one + one / 2}));
    FAIL() << "two headers don't fit";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::budget);
  }
}

}  // namespace
}  // namespace headrace
