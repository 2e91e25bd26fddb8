#include "cli/dry_run.hpp"

#include "cli/table.hpp"
#include "cli/text.hpp"

#include <headrace/bytes.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>
#include <vector>

namespace headrace::cli {
namespace fs = std::filesystem;
namespace {

// How many tensors of one type the output will have.
struct TypeTotal {
  DType dtype = DType::F32;
  std::uint64_t tensors = 0;
  std::uint64_t bytes = 0;
};

// In the order of their first tensor.
std::vector<TypeTotal> totals_by_type(const Plan& plan) {
  std::vector<TypeTotal> totals;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const PlannedTensor tensor = plan[i];
    auto at =
        std::find_if(totals.begin(), totals.end(), [&](const TypeTotal& total) { return total.dtype == tensor.to; });
    if (at == totals.end()) at = totals.insert(at, TypeTotal{tensor.to});
    ++at->tensors;
    at->bytes += tensor.bytes;
  }
  return totals;
}

// What a file is that the conversion reads and so never replaces; empty for others.
std::string use_of(const Plan& plan, const fs::path& file) {
  if (plan.is_input(file)) return "an input";
  for (const fs::path& imatrix : plan.options().imatrix_files) {
    std::error_code ignored;
    if (fs::equivalent(imatrix, file, ignored)) return "the importance matrix";
  }
  return {};
}

// A plan doesn't look at the output; the conversion would refuse to replace it.
std::string problem_with_output(const Plan& plan) {
  std::error_code ignored;
  std::vector<fs::path> files;
  for (std::size_t i = 0; i < plan.output_files(); ++i) files.push_back(plan.output_file(i));
  if (!plan.output_index().empty()) files.push_back(plan.output_index());
  for (const fs::path& file : files) {
    const std::string use = use_of(plan, file);
    if (!use.empty()) return fmt::format("'{}' is {}: choose another", file.string(), use);
  }
  if (files.size() > 1) {
    for (const fs::path& file : files) {
      if (fs::exists(fs::symlink_status(file, ignored)))
        return fmt::format("'{}' exists: a set of files never replaces another", file.string());
    }
    return {};
  }
  const fs::file_status status = fs::status(plan.output(), ignored);
  if (!fs::exists(status)) return {};
  const std::string output = fmt::format("'{}' exists", plan.output().string());
  if (!fs::is_regular_file(status)) return output + " and is no regular file: choose another";
  return plan.options().force ? std::string() : output + ": converting needs --force to replace it";
}

std::vector<std::string> all_notes(const Plan& plan) {
  std::vector<std::string> notes(plan.notes().begin(), plan.notes().end());
  if (std::string problem = problem_with_output(plan); !problem.empty()) notes.push_back(std::move(problem));
  return notes;
}

const char* word_of(Importance importance) {
  constexpr std::array kWords{"none", "ones", "file"};
  return kWords[static_cast<std::size_t>(importance)];
}

// "none", "ones", or the files.
Json imatrix_of(const ConvertOptions& options) {
  if (options.importance != Importance::file) return word_of(options.importance);
  std::vector<std::string> files;
  for (const fs::path& file : options.imatrix_files) files.push_back(file.string());
  return files;
}

void print_tensors(Output& out, const Plan& plan) {
  constexpr std::array kColumns{Column{"tensor"},
                                Column{"from"},
                                Column{"to"},
                                Column{"shape"},
                                Column{"bytes", Align::right},
                                Column{"offset", Align::right},
                                Column{"why"}};
  print_table(out, kColumns, plan.size(), [&](std::size_t i, Row& row) {
    const PlannedTensor tensor = plan[i];
    append_safe(row[0], tensor.name);
    row[1] = name(tensor.from);
    row[2] = name(tensor.to);
    row[3] = to_string(tensor.shape);
    if (!std::equal(tensor.shape.begin(), tensor.shape.end(), tensor.source_shape.begin(), tensor.source_shape.end())) {
      row[3] += " from " + to_string(tensor.source_shape);
    }
    fmt::format_to(std::back_inserter(row[4]), "{}", tensor.bytes);
    fmt::format_to(std::back_inserter(row[5]), "{}", tensor.offset);
    row[6] = explain(tensor);
  });
}

}  // namespace

void print_plan(Output& out, const Plan& plan) {
  print_tensors(out, plan);
  out.write("\n");
  for (const std::string& note : all_notes(plan)) out.print("note: {}\n", safe(note));
  out.print("tensors  {}\n", grouped(plan.size()));
  for (const TypeTotal& total : totals_by_type(plan)) {
    out.print("  {:<11} {} tensor{}, {}\n", name(total.dtype), grouped(total.tensors), total.tensors == 1 ? "" : "s",
              format_bytes(total.bytes));
  }
  for (std::size_t i = 0; i < plan.inputs().size(); ++i) {
    const Input& input = plan.inputs()[i];
    out.print("input    {}, {}{}\n", safe(input.location), name(plan.from(i)),
              input.prefix.empty() ? "" : fmt::format(", prefix '{}'", safe(input.prefix)));
  }
  for (const fs::path& file : plan.options().imatrix_files) out.print("imatrix  {}\n", safe(file.string()));
  out.print("source   {} ({} bytes) of tensors\n", format_bytes(plan.source_bytes()), grouped(plan.source_bytes()));
  if (plan.unmeasured() > 0) out.print("until the data is looked at, no more than:\n");
  out.print("output   {} ({} bytes), {}, header {}\n", format_bytes(plan.output_bytes()), grouped(plan.output_bytes()),
            name(plan.to()), format_bytes(plan.header_bytes()));
  if (plan.output_files() > 1) {
    out.print("files    {}, from {}\n", grouped(plan.output_files()), safe(plan.output_file(0).string()));
  }
}

void describe(JsonDocument& document, const Plan& plan) {
  document.begin_list("inputs");
  for (std::size_t i = 0; i < plan.inputs().size(); ++i) {
    const Input& input = plan.inputs()[i];
    document.element({{"file", input.location}, {"prefix", input.prefix}, {"format", name(plan.from(i))}});
  }
  document.end_list();
  document.member("output", plan.output().string());
  std::vector<std::string> files;
  for (std::size_t i = 0; i < plan.output_files(); ++i) files.push_back(plan.output_file(i).string());
  document.member("files", files);
  document.member("to", name(plan.to()));
  const std::optional<DType> type = plan.options().type;
  document.member("type", type ? Json(name(*type)) : Json(nullptr));
  std::vector<std::string> rules;
  for (const Rule& rule : plan.options().rules) rules.push_back(to_string(rule));
  document.member("rules", rules);
  const std::string& profile = plan.options().profile;
  document.member("for", profile.empty() ? Json(nullptr) : Json(profile));
  const auto& recipe = plan.options().recipe;
  document.member("recipe", recipe ? Json(name(recipe->recipe)) : Json(nullptr));
  document.member("imatrix", imatrix_of(plan.options()));
  document.member("tensor_count", plan.size());
  document.member("source_bytes", plan.source_bytes());
  document.member("header_bytes", plan.header_bytes());
  document.member("output_bytes", plan.output_bytes());
  document.member("needs_data", plan.unmeasured());
  document.begin_list("dropped");
  for (const DroppedTensor& tensor : plan.dropped()) document.element(json_of(tensor));
  document.end_list();
  document.begin_list("types");
  for (const TypeTotal& total : totals_by_type(plan)) {
    document.element({{"dtype", name(total.dtype)}, {"tensors", total.tensors}, {"bytes", total.bytes}});
  }
  document.end_list();
}

Json json_of(const PlannedTensor& tensor) {
  return {{"name", tensor.name},
          {"input", tensor.input},
          {"source_name", tensor.source_name},
          {"from", name(tensor.from)},
          {"to", name(tensor.to)},
          {"shape", tensor.shape},
          {"source_shape", tensor.source_shape},
          {"why", explain(tensor)},
          {"rule", tensor.rule.empty() ? Json(nullptr) : Json(tensor.rule)},
          {"needs_data", tensor.why == Reason::unmeasured},
          {"joined_from", tensor.sources},
          {"scaled", tensor.scaled},
          {"imatrix", word_of(tensor.importance)},
          {"source_bytes", tensor.source_bytes},
          {"bytes", tensor.bytes},
          {"file_index", tensor.file},
          {"offset", tensor.offset}};
}

Json json_of(const DroppedTensor& tensor) {
  return {{"name", tensor.name}, {"input", tensor.input}, {"source_name", tensor.source_name}, {"why", tensor.why}};
}

void print_plan_json(Output& out, const Plan& plan) {
  JsonDocument document(out);
  describe(document, plan);
  document.member("notes", all_notes(plan));
  document.begin_list("tensors");
  for (std::size_t i = 0; i < plan.size() && !out.closed(); ++i) {
    const PlannedTensor tensor = plan[i];
    document.element(json_of(tensor));
  }
  document.end_list();
  document.end();
}

}  // namespace headrace::cli
