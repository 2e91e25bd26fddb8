// Options that say which type each tensor gets: rules, recipes, profiles.
#pragma once

#include <headrace/plan.hpp>

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

namespace headrace::cli {

/// As they were typed.
struct ChoiceArguments {
  std::string type;
  std::vector<std::string> rules;
  std::vector<std::string> rule_files;
  std::string type_rules;
  std::string profile, skip_list;
  std::string recipe;
  bool pure = false, leave_output_tensor = false, allow_requantize = false;
  std::string output_tensor_type, token_embedding_type;
};

/// Adds --type, --rule, --rules and --tensor-type-rules. `arguments` must outlive the command.
void add_type_options(CLI::App& command, ChoiceArguments& arguments);
/// Adds these, --for, --recipe and what belongs to it.
void add_choice_options(CLI::App& command, ChoiceArguments& arguments);

/// What these say. Throw UsageError; Error for a bad rule or an unreadable file.
std::optional<DType> type_of(const ChoiceArguments& arguments);
std::vector<Rule> rules_of(const ChoiceArguments& arguments);
/// Sets the options' type, rules, profile and recipe. Throws UsageError; Error for a bad rule or an unreadable file.
void set_choice(const ChoiceArguments& arguments, ConvertOptions& options);

}  // namespace headrace::cli
