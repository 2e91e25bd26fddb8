#include "plan/profile.hpp"

#include "format/json_document.hpp"
#include "format/printable.hpp"
#include "io/file.hpp"
#include "plan/built_in_profiles.hpp"
#include "plan/patterns.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string_view>
#include <utility>

namespace headrace::plan {
namespace {

using Element = simdjson::dom::element;

constexpr std::uint64_t kMemoryOfPattern = std::uint64_t{1} << 20;

// Walks one object and hands each field to whoever knows it; others are errors, for a misspelt one would be passed over
// silently otherwise.
class Fields {
 public:
  Fields(std::string file, std::string where) : file_(std::move(file)), where_(std::move(where)) {}

  Error error(std::string_view field, std::string expected) const {
    const std::string what = fmt::format("{}{}", where_, format::printable(field));
    return {ErrorCode::format,
            what.empty() ? "this is no profile" : fmt::format("the profile's field '{}' isn't right", what),
            {.file = file_, .expected = std::move(expected), .hint = "docs/profiles.md explains the fields"}};
  }

  template <class Take>
  void walk(Element element, const Take& take) const {
    simdjson::dom::object object;
    if (element.get(object)) throw error("", "an object");
    for (const auto& [key, value] : object) {
      if (!take(key, value)) throw error(key, "a field that profiles have");
    }
  }

  std::string text(std::string_view field, Element value) const {
    std::string_view text;
    if (value.get(text)) throw error(field, "a text");
    return std::string(text);
  }

  bool yes(std::string_view field, Element value) const {
    bool yes = false;
    if (value.get(yes)) throw error(field, "true or false");
    return yes;
  }

  void each(std::string_view field, Element value, const std::function<void(Element)>& take) const {
    simdjson::dom::array array;
    if (value.get(array)) throw error(field, "a list");
    for (const Element element : array) take(element);
  }

  std::vector<std::string> texts(std::string_view field, Element value) const {
    std::vector<std::string> texts;
    each(field, value, [&](Element element) { texts.push_back(text(field, element)); });
    return texts;
  }

  std::vector<Rule> rules(std::string_view field, Element value) const {
    std::vector<Rule> rules;
    for (const std::string& text : texts(field, value)) {
      try {
        rules.push_back(parse_rule(text));
        static_cast<void>(compile(rules.back().pattern, kMemoryOfPattern, fmt::format("rule '{}'", text)));
      } catch (const Error& wrong) {
        throw Error(ErrorCode::format, wrong.problem(), {.file = file_, .expected = wrong.detail().expected});
      }
      if (rules.back().action.kind == Action::Kind::rmse)
        throw error(field, "no rmse: rules, which are a user's choice");
    }
    return rules;
  }

  DType dtype(std::string_view field, Element value) const {
    const auto dtype = parse_dtype(text(field, value));
    if (!dtype) throw error(field, "the name of a type");
    return *dtype;
  }

  MetadataOverride metadata(std::string_view field, const std::string& pair) const try {
    return parse_metadata_override(pair);
  } catch (const Error& wrong) {
    throw error(field, wrong.detail().expected);
  }

  Format format(std::string_view field, Element value) const {
    const auto format = parse_format(text(field, value));
    if (!format) throw error(field, "the name of a format, such as gguf");
    return *format;
  }

 private:
  std::string file_, where_;
};

ProfilePrefix read_prefix(const std::string& file, Element element) {
  const Fields fields(file, "prefixes.");
  ProfilePrefix prefix;
  fields.walk(element, [&](std::string_view key, Element value) {
    if (key == "text") return prefix.text = fields.text(key, value), true;
    if (key != "of") return false;
    const std::string of = fields.text(key, value);
    if (of != "some" && of != "all") throw fields.error(key, "some or all");
    prefix.of_all = of == "all";
    return true;
  });
  if (prefix.text.empty()) throw fields.error("text", "a prefix");
  return prefix;
}

ProfileArchitecture read_architecture(const std::string& file, Element element) {
  const Fields fields(file, "architectures.");
  ProfileArchitecture architecture;
  fields.walk(element, [&](std::string_view key, Element value) {
    if (key == "name") return architecture.name = fields.text(key, value), true;
    if (key == "has_not") return architecture.has_not = fields.texts(key, value), true;
    if (key == "has_not_why") return architecture.has_not_why = fields.text(key, value), true;
    if (key == "rearrange") return architecture.rearrange = fields.yes(key, value), true;
    if (key == "rules") return architecture.rules = fields.rules(key, value), true;
    if (key != "has") return false;
    fields.each(key, value, [&](Element list) { architecture.has.push_back(fields.texts("has", list)); });
    return true;
  });
  const auto is_empty = [](const auto& list) { return list.empty(); };
  if (architecture.name.empty()) throw fields.error("name", "a name");
  if (architecture.has.empty() || std::ranges::any_of(architecture.has, is_empty))
    throw fields.error("has", "lists of names, none of them empty");
  return architecture;
}

Profile read_profile(const format::JsonDocument& document) {
  const std::string& file = document.file();
  const Fields fields(file, "");
  Profile profile;
  fields.walk(document.root(), [&](std::string_view key, Element value) {
    if (key == "about" || key == "source") return fields.text(key, value), true;  // for whoever reads the file
    if (key == "name") return profile.name = fields.text(key, value), true;
    if (key == "from_why") return profile.from_why = fields.text(key, value), true;
    if (key == "to") return profile.to = fields.format(key, value), true;
    if (key == "keep_uneven_rows") return profile.keep_uneven_rows = fields.yes(key, value), true;
    if (key == "rules") return profile.rules = fields.rules(key, value), true;
    if (key == "needs_architecture") return profile.needs_architecture = fields.text(key, value), true;
    if (key == "from") {
      fields.each(key, value, [&](Element one) { profile.from.push_back(fields.format("from", one)); });
    } else if (key == "longest_name") {
      std::uint64_t bytes = 0;
      if (value.get(bytes)) throw fields.error(key, "a number of bytes");
      profile.longest_name = static_cast<std::size_t>(bytes);
    } else if (key == "otherwise") {
      profile.otherwise = fields.dtype(key, value);
    } else if (key == "reads") {
      fields.each(key, value, [&](Element one) { profile.reads.push_back(fields.dtype("reads", one)); });
    } else if (key == "metadata") {
      for (const std::string& pair : fields.texts(key, value)) profile.metadata.push_back(fields.metadata(key, pair));
    } else if (key == "prefixes") {
      fields.each(key, value, [&](Element one) { profile.prefixes.push_back(read_prefix(file, one)); });
    } else if (key == "architectures") {
      fields.each(key, value, [&](Element one) { profile.architectures.push_back(read_architecture(file, one)); });
    } else {
      return false;
    }
    return true;
  });
  if (profile.name.empty()) throw fields.error("name", "a name");
  return profile;
}

std::size_t memory_of(const std::vector<Rule>& rules) {
  std::size_t bytes = 0;
  for (const Rule& rule : rules) bytes += sizeof(rule) + rule.pattern.capacity();
  return bytes;
}

}  // namespace

std::size_t Profile::memory() const noexcept {
  std::size_t bytes = sizeof(*this) + memory_of(rules);
  for (const ProfileArchitecture& architecture : architectures) {
    bytes += sizeof(architecture) + memory_of(architecture.rules);
    for (const auto& names : architecture.has) {
      for (const std::string& text : names) bytes += sizeof(text) + text.capacity();
    }
  }
  return bytes;
}

std::vector<std::string> profile_names() {
  std::vector<std::string> names;
  for (const BuiltInProfile& profile : built_in_profiles()) names.emplace_back(profile.name);
  return names;
}

Profile parse_profile(std::string file, std::string_view text, std::uint64_t memory) {
  return read_profile(format::JsonDocument(std::move(file), text, memory));
}

Profile load_profile(const std::string& name_or_path, std::uint64_t memory) {
  for (const BuiltInProfile& profile : built_in_profiles()) {
    if (profile.name != name_or_path) continue;
    return parse_profile(fmt::format("profile {}", profile.name), profile.text, memory);
  }
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(name_or_path, ignored)) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("'{}' is neither a profile nor a file", format::printable(name_or_path)),
                {.expected = fmt::format("{}, or the path of a profile", fmt::join(profile_names(), ", "))});
  }
  return read_profile(format::JsonDocument(io::File::open(name_or_path), memory));
}

}  // namespace headrace::plan
