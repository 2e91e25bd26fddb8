#include "options.hpp"

#include "fetch.hpp"
#include "text.hpp"

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>
#include <headrace/recipe.hpp>
#include <headrace/rules.hpp>
#include <headrace/shaping.hpp>
#include <headrace/targets.hpp>

#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace headrace::python {
namespace {

constexpr std::uint64_t kMostThreads = 1024, kMostConnections = 64, kAny = std::numeric_limits<std::uint64_t>::max();

Error wrong(const char* keyword, const std::string& problem, std::string expected, std::string hint = {}) {
  return {ErrorCode::invalid_argument,
          std::string(keyword) + ": " + problem,
          {.expected = std::move(expected), .hint = std::move(hint)}};
}

std::string in_quotes(std::string_view text) { return "'" + std::string(text) + "'"; }

// The keywords that were given, by kind of value.
class Given {
 public:
  explicit Given(const nb::dict& given) : given_(given) {}

  nb::object get(const char* keyword) const {
    return given_.contains(keyword) ? nb::object(given_[keyword]) : nb::none();
  }

  std::string text(const char* keyword) const {
    const nb::object value = get(keyword);
    return value.is_none() ? std::string() : from_str(value);
  }

  std::vector<std::string> texts(const char* keyword) const {
    std::vector<std::string> texts;
    for (const nb::object& value : list(keyword)) texts.push_back(from_str(value));
    return texts;
  }

  std::vector<nb::object> list(const char* keyword) const {
    std::vector<nb::object> values;
    const nb::object given = get(keyword);
    if (given.is_none()) return values;
    for (const nb::handle value : given) values.push_back(nb::borrow(value));
    return values;
  }

  bool flag(const char* keyword, bool otherwise = false) const {
    const nb::object value = get(keyword);
    return value.is_none() ? otherwise : value.is(nb::handle(Py_True));
  }

  std::optional<std::uint64_t> number(const char* keyword, std::uint64_t least, std::uint64_t most) const {
    const nb::object value = get(keyword);
    if (value.is_none()) return std::nullopt;
    return number_in(keyword, value, least, most);
  }

  static std::uint64_t number_in(const char* keyword, nb::handle value, std::uint64_t least, std::uint64_t most) {
    const unsigned long long number = PyLong_AsUnsignedLongLong(value.ptr());
    const bool failed = PyErr_Occurred() != nullptr;  // negative, or beyond 64 bits
    PyErr_Clear();
    if (failed || number < least || number > most) {
      throw wrong(keyword, "found " + std::string(nb::str(value).c_str()),
                  "a number from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return number;
  }

  // A number of bytes, or a text such as "512MiB".
  std::optional<std::uint64_t> bytes(const char* keyword) const {
    const nb::object value = get(keyword);
    if (value.is_none()) return std::nullopt;
    if (!PyUnicode_Check(value.ptr())) return number(keyword, 1, std::numeric_limits<std::uint64_t>::max());
    const auto size = parse_bytes(from_str(value));
    if (!size || *size == 0)
      throw wrong(keyword, "found " + in_quotes(from_str(value)), "a size such as '512MiB' or '5GB', or bytes");
    return size;
  }

  std::optional<DType> type(const char* keyword) const {
    const std::string typed = text(keyword);
    if (typed.empty()) return std::nullopt;
    try {
      return parse_target_type(typed);
    } catch (const Error& error) {
      throw wrong(keyword, error.problem(), error.detail().expected, error.detail().hint);
    }
  }

  // The place of a word among those that may stand there.
  std::optional<std::size_t> word(const char* keyword, std::initializer_list<std::string_view> words) const {
    const nb::object value = get(keyword);
    if (value.is_none()) return std::nullopt;
    const std::string given = from_str(value);
    std::string expected;
    std::size_t place = 0;
    for (const std::string_view word : words) {
      if (word == given) return place;
      expected += (place++ == 0 ? "" : " or ") + in_quotes(word);
    }
    throw wrong(keyword, "found " + in_quotes(given), expected);
  }

 private:
  const nb::dict& given_;
};

std::optional<RecipeOptions> recipe_in(const Given& given) {
  const std::string name = given.text("recipe");
  RecipeOptions recipe{.recipe = Recipe::Q4_K_M,
                       .pure = given.flag("pure"),
                       .output_tensor_type = given.type("output_tensor_type"),
                       .token_embedding_type = given.type("token_embedding_type"),
                       .leave_output_tensor = given.flag("leave_output_tensor"),
                       .allow_requantize = given.flag("allow_requantize")};
  if (name.empty()) {
    const bool details = recipe.pure || recipe.leave_output_tensor || recipe.allow_requantize ||
                         recipe.output_tensor_type || recipe.token_embedding_type;
    if (!details) return std::nullopt;
    throw Error(ErrorCode::invalid_argument,
                "pure, output_tensor_type, token_embedding_type, leave_output_tensor and allow_requantize change what "
                "a recipe chooses, and none is given",
                {.hint = R"(with a type, rules do the same: rules=["^output\.weight$=q8_0"])"});
  }
  if (const auto known = parse_recipe(name)) {
    recipe.recipe = *known;
    return recipe;
  }
  std::vector<std::string_view> names;
  std::string all, near;
  for (const RecipeInfo& one : all_recipes()) names.push_back(one.name);
  for (const std::string_view one : names) all += (all.empty() ? "one of " : ", ") + std::string(one);
  for (const std::string_view one : closest(name, names)) near += (near.empty() ? "" : " or ") + std::string(one);
  throw wrong("recipe", "unknown recipe " + in_quotes(name) + (near.empty() ? "" : " (did you mean " + near + "?)"),
              all);
}

std::vector<Rule> rules_in(const Given& given) {
  std::vector<Rule> rules;
  for (const std::string& text : given.texts("rules")) rules.push_back(parse_rule(text));
  for (const std::string& file : given.texts("rules_file")) {
    for (Rule& rule : read_rules(file)) rules.push_back(std::move(rule));
  }
  for (Rule& rule : parse_type_rules(given.text("tensor_type_rules"))) rules.push_back(std::move(rule));
  return rules;
}

Shaping shaping_in(const Given& given) {
  Shaping shaping;
  shaping.component = given.text("component");
  shaping.select = given.texts("select");
  shaping.drop = given.texts("drop");
  shaping.strip_prefixes = given.texts("strip_prefix");
  for (const nb::object& one : given.list("rename")) {  // a text, or a pair, whose replacement may hold a '='
    shaping.renames.push_back(PyTuple_Check(one.ptr()) ? Rename{from_str(one[0]), from_str(one[1])}
                                                       : parse_rename(from_str(one)));
  }
  shaping.prefix = given.text("prefix");
  for (const std::string& text : given.texts("split")) shaping.splits.push_back(parse_split(text));
  for (const std::string& text : given.texts("concat")) shaping.concats.push_back(parse_concat(text));
  if (const auto place = given.word("prefer", {"first", "last"}))
    shaping.prefer = *place == 0 ? Prefer::first : Prefer::last;
  for (const nb::object& layer : given.list("prune_layers")) {
    const auto number = Given::number_in("prune_layers", layer, 0, std::numeric_limits<std::uint32_t>::max());
    shaping.prune_layers.push_back(static_cast<std::uint32_t>(number));
  }
  return shaping;
}

// A text as the command takes it, or a pair of key and value.
MetadataOverride override_in(nb::handle one) {
  if (!PyTuple_Check(one.ptr())) return parse_metadata_override(from_str(one));
  const std::string key = from_str(one[0]);
  const nb::object value = one[1];
  if (PyUnicode_Check(value.ptr())) return {key, ValueType::string, from_str(value)};
  if (PyBool_Check(value.ptr())) return {key, ValueType::boolean, value.is(nb::handle(Py_True)) ? "true" : "false"};
  const std::string text = nb::repr(value).c_str();
  if (PyFloat_Check(value.ptr())) return {key, ValueType::f32, text};
  // llama.cpp takes the sign off a negative number; a program that sets one doesn't want that.
  Given::number_in(("override_kv: " + key).c_str(), value, 0, std::numeric_limits<std::uint32_t>::max());
  return {key, ValueType::u32, text};
}

void set_imatrix(const Given& given, ConvertOptions& options) {
  const std::vector<std::string> words = given.texts("imatrix");
  for (const std::string& word : words) {
    const bool named = word == "none" || word == "ones";
    if (word.empty()) throw wrong("imatrix", "found ''", "'none', 'ones' or files");
    if (named && words.size() > 1)
      throw wrong("imatrix", in_quotes(word) + " stands alone", "'none', 'ones' or files; ./" + word + " is a file");
    if (word == "ones") options.importance = Importance::ones;
    if (named) continue;
    options.importance = Importance::file;
    options.imatrix_files.emplace_back(word);
  }
  options.imatrix_include = given.texts("include_weights");
  options.imatrix_exclude = given.texts("exclude_weights");
  if (!options.imatrix_include.empty() && !options.imatrix_exclude.empty()) {
    throw Error(ErrorCode::invalid_argument, "include_weights and exclude_weights are two ways to say one thing",
                {.hint = "give one of them"});
  }
}

}  // namespace

std::uint64_t memory_of(const nb::dict& given) { return Given(given).bytes("memory").value_or(kDefaultMemory); }

unsigned threads_of(const nb::dict& given) {
  return static_cast<unsigned>(Given(given).number("threads", 0, kMostThreads).value_or(0));
}

void set_places(const nb::dict& all, SourceOptions& source) {
  const Given given(all);
  if (nb::object fetch = given.get("fetch"); !fetch.is_none()) source.fetch = fetch_of(std::move(fetch));
  source.weight_path_prefix = given.text("weight_path_prefix");
  if (nb::object converter = given.get("weight_url_converter"); !converter.is_none())
    source.weight_url_converter = converter_of(std::move(converter));
}

SourceOptions source_options(const nb::dict& all) {
  const Given given(all);
  SourceOptions source;
  source.torch_key = given.text("torch_key");
  source.variant = given.text("variant");
  source.headers = given.texts("headers");
  if (const auto number = given.number("connections", 1, kMostConnections))
    source.connections = static_cast<unsigned>(*number);
  set_places(all, source);
  return source;
}

ConvertOptions convert_options(const nb::dict& all) {
  const Given given(all);
  ConvertOptions options;
  if (const auto place = given.word("to", {"gguf", "safetensors"}))
    options.to = *place == 0 ? Format::gguf : Format::safetensors;
  options.type = given.type("type");
  options.recipe = recipe_in(given);
  options.rules = rules_in(given);
  options.profile = given.text("profile");
  options.shaping = shaping_in(given);
  set_imatrix(given, options);
  if (std::string name = given.text("architecture"); !name.empty()) options.architecture = std::move(name);
  for (const nb::object& one : given.list("override_kv")) options.metadata.push_back(override_in(one));
  if (given.word("nonfinite", {"refuse", "keep"}).value_or(0) == 1) options.nonfinite = Nonfinite::keep;
  options.measure = given.flag("measure");
  options.shard_size = given.bytes("shard_size");
  options.source = source_options(all);
  options.memory = memory_of(all);
  options.threads = threads_of(all);
  options.force = given.flag("force");
  return options;
}

LoadOptions load_options(const nb::dict& all) {
  const Given given(all);
  LoadOptions options;
  options.stream_weights = given.flag("stream_weights", options.stream_weights);
  options.host_threshold = given.number("host_threshold", 0, kAny).value_or(options.host_threshold);
  options.keep_host_copy = given.flag("keep_host_copy");
  options.type = given.type("type");
  options.rules = rules_in(given);
  options.shaping = shaping_in(given);
  if (all.contains("strict")) options.strict = given.texts("strict");
  if (given.word("nonfinite", {"refuse", "keep"}).value_or(0) == 1) options.nonfinite = Nonfinite::keep;
  if (const auto place = given.word("host_reads", {"automatic", "mapped", "cached", "direct"}))
    options.host_reads = static_cast<HostReads>(*place);
  options.alignment = static_cast<std::size_t>(given.number("alignment", 0, kAny).value_or(options.alignment));
  options.huge_pages = given.flag("huge_pages", options.huge_pages);
  options.memory = memory_of(all);
  options.threads = threads_of(all);
  options.source = source_options(all);
  return options;
}

std::vector<Input> inputs_of(const nb::list& given) {
  std::vector<Input> inputs;
  for (const nb::handle one : given) inputs.push_back({from_str(one[0]), from_str(one[1])});
  return inputs;
}

}  // namespace headrace::python
