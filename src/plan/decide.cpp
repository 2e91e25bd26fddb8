#include "plan/decide.hpp"

#include "codec/codec.hpp"
#include "format/layout.hpp"
#include "format/printable.hpp"
#include "plan/choose_type.hpp"
#include "plan/fold_scales.hpp"
#include "plan/ladder.hpp"
#include "plan/recipe.hpp"
#include "plan/rules.hpp"
#include "plan/tally.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace headrace::plan {
namespace {

using Kind = Action::Kind;

Format other(Format format) { return format == Format::gguf ? Format::safetensors : Format::gguf; }

// What the user can do about a tensor of a type that the target can't hold.
std::string way_out(DType dtype, Format to) {
  std::string ways;
  if ((is_float(dtype) || is_block(dtype)) && codec::can_decode(dtype))
    ways = "--type f16 (or another type) converts it";
  if (format::holds(other(to), dtype))
    ways += fmt::format("{}--to {} keeps it", ways.empty() ? "" : ", ", name(other(to)));
  return ways;
}

// One pass over a draft's tensors.
class Decider {
 public:
  Decider(Draft& draft, const Measured* measured) : draft_(draft), measured_(measured) {}

  void run() {
    match_rules();
    const ScalesOfFp8 scales(draft_);
    const std::optional<RecipeChoice> recipe = choose_recipe();
    for (std::size_t i = 0; i < draft_.tensors.size(); ++i) {
      TensorInfo& tensor = draft_.tensors[i];
      const DType from = tensor.dtype;
      const TypeChoice choice = choose(i, scales, recipe);
      settle(i, from, choice);
      tensor.dtype = choice.to;
    }
    fold_scales(draft_, scales);
    for (std::size_t i = 0; i < draft_.tensors.size(); ++i) require_possible(i);
    note();
  }

 private:
  const Rule* rule_of(std::size_t i) const {
    const Origin& origin = draft_.origins[i];
    if (origin.rule == Origin::kNoRule) return nullptr;
    return origin.by_profile ? &draft_.profile.rules[origin.rule] : &draft_.options.rules[origin.rule];
  }

  // Remembers in each origin which rule matches, and leaves out what one drops.
  void match_rules() {
    Rules rules(draft_.options.rules, draft_.options.memory / 4);
    Rules defaults(draft_.profile.rules, draft_.options.memory / 4);
    has_decided_.resize(draft_.options.rules.size());
    std::vector<bool> out(draft_.tensors.size());
    for (std::size_t i = 0; i < draft_.tensors.size(); ++i) {
      Origin& origin = draft_.origins[i];
      TensorInfo tensor = draft_.tensors[i];
      if (draft_.rearranged) tensor.shape = draft_.source_of(i).shape;  // as people know it
      const auto own = rules.match(tensor);
      const auto match = own ? own : defaults.match(tensor);
      if (!match) continue;
      origin.rule = static_cast<std::uint16_t>(*match);
      origin.by_profile = !own;
      if (rule_of(i)->action.kind != Kind::drop) continue;
      if (own) has_decided_[*own] = true;
      const std::string by = own ? "" : fmt::format("--for {}: ", draft_.profile.name);
      draft_.drop(i, fmt::format("{}rule '{}'", by, format::printable(to_string(*rule_of(i)))), out);
    }
    rules.require_all_matched();
    draft_.leave_out(out);
  }

  std::optional<RecipeChoice> choose_recipe() const {
    if (!draft_.options.recipe) return std::nullopt;
    std::vector<bool> decided(draft_.tensors.size());
    for (std::size_t i = 0; i < decided.size(); ++i) decided[i] = rule_of(i) != nullptr;
    return RecipeChoice(*draft_.options.recipe, language_model(draft_.sources.front()->header.metadata), draft_.tensors,
                        decided, draft_.options.importance == Importance::file);
  }

  TypeChoice choose(std::size_t i, const ScalesOfFp8& scales, const std::optional<RecipeChoice>& recipe) const {
    const TensorInfo& tensor = draft_.tensors[i];
    const Rule* rule = rule_of(i);
    const bool by_caller = rule && !draft_.origins[i].by_profile;
    // In another type it would be another scale; only a word about staying is heard.
    if (scales.is_scale(draft_.first_of(i)) && !(by_caller && rule->action.kind == Kind::keep))
      return {tensor.dtype, Reason::scale};
    if (by_caller) return by_rule(i, *rule);
    if (rule) return by_profile(i, *rule);
    if (recipe) return by_recipe(i, *recipe);
    const std::optional<DType> type = draft_.options.type;
    if (!type) return by_want_of_place(i);
    if (draft_.profile.keep_uneven_rows && is_block(*type) && !fits(tensor, *type))
      return {tensor.dtype, Reason::profile};
    return choose_type(tensor, {type});
  }

  TypeChoice by_rule(std::size_t i, const Rule& rule) const {
    const TensorInfo& tensor = draft_.tensors[i];
    const DType from = tensor.dtype;
    const bool convertible = is_float(from) || is_block(from);
    switch (rule.action.kind) {
      case Kind::type: return choose_type(tensor, {rule.action.types.front(), true});
      case Kind::keep:
      case Kind::drop: break;
      case Kind::fallback: {
        if (!convertible) return {from, Reason::not_float};
        for (const DType type : rule.action.types) {
          if (fits(tensor, type)) return {type, Reason::rule};
        }
        return {DType::F16, Reason::row_fallback};
      }
      case Kind::rmse: {
        if (!convertible) return {from, Reason::not_float};
        if (const auto found = measured_type(tensor.name)) return {*found, Reason::measured};
        if (draft_.comes_once(i)) refuse_stream(i, rule);
        const Ladder ladder = ladder_of(tensor, rule.action, draft_.file_format());
        return {ladder.ceiling, ladder.types.empty() ? Reason::measured : Reason::unmeasured};
      }
    }
    return {from, Reason::rule};
  }

  [[noreturn]] void refuse_stream(std::size_t i, const Rule& rule) const {
    throw Error(
        ErrorCode::unsupported,
        fmt::format("rule '{}' wants the data looked at before it is converted, but a stream brings it only once",
                    format::printable(to_string(rule))),
        {.file = draft_.file_of(i).name(),
         .tensor = format::printable(draft_.tensors[i].name),
         .hint = "save it to a file first, and give that"});
  }

  std::optional<DType> measured_type(std::string_view name) const {
    if (!measured_) return std::nullopt;
    const auto at = measured_->find(name);
    return at == measured_->end() ? std::nullopt : std::optional(at->second);
  }

  TypeChoice by_profile(std::size_t i, const Rule& rule) const {
    TypeChoice choice = by_rule(i, rule);
    if (rule.action.kind == Kind::keep && !draft_.holds(choice.to)) choice = by_want_of_place(i);
    if (choice.why == Reason::rule || choice.why == Reason::already) choice.why = Reason::profile;
    return choice;
  }

  TypeChoice by_recipe(std::size_t i, const RecipeChoice& recipe) const {
    const DType from = draft_.tensors[i].dtype;
    const std::optional<DType> type = recipe.type(i);
    if (!type) return {from, Reason::left_by_recipe};
    return {*type, recipe.fell_back(i) ? Reason::row_fallback : Reason::recipe};
  }

  // What the output has no place for becomes what the profile says.
  TypeChoice by_want_of_place(std::size_t i) const {
    const DType from = draft_.tensors[i].dtype;
    const std::optional<DType> otherwise = draft_.profile.otherwise;
    if (!otherwise || draft_.holds(from) || !is_float(from)) return {from, Reason::kept};
    const TypeChoice choice = choose_type(draft_.tensors[i], {otherwise});
    return {choice.to, choice.why == Reason::requested ? Reason::profile : choice.why};
  }

  void settle(std::size_t i, DType from, const TypeChoice& choice) {
    Origin& origin = draft_.origins[i];
    const bool says_nothing = choice.why == Reason::not_float || choice.why == Reason::scale;
    if (says_nothing) origin.rule = Origin::kNoRule;
    if (origin.rule != Origin::kNoRule && !origin.by_profile) has_decided_[origin.rule] = true;
    origin.why = choice.why;
    if (choice.why == Reason::row_fallback) fallback_.add(draft_.tensors[i].name);
    if (is_block(from) && is_block(choice.to) && choice.to != from) requantised_.add(draft_.tensors[i].name);
    draft_.retyped = draft_.retyped || choice.to != from;
  }

  // Throws unless tensor `i` can be made of its source's numbers.
  void require_possible(std::size_t i) const {
    const TensorInfo& source = draft_.source_of(i);
    const DType from = source.dtype, to = draft_.tensors[i].dtype;
    const auto refuse = [&](std::string problem, std::string hint) {
      throw Error(
          ErrorCode::unsupported, std::move(problem),
          {.file = draft_.file_of(i).name(), .tensor = format::printable(source.name), .hint = std::move(hint)});
    };
    if (!draft_.holds(to)) {
      const DType asked = asked_for(i).value_or(to);  // `to` may be what its rows made it fall back to
      const bool told_to_keep = rule_of(i) && rule_of(i)->action.kind == Kind::keep;
      refuse(fmt::format("{} can't hold {} tensors", name(draft_.to), name(draft_.holds(asked) ? to : asked)),
             told_to_keep ? fmt::format("a rule says to keep it: let it name a type, or --to {} keeps it",
                                        name(other(draft_.to)))
             : to == from ? way_out(to, draft_.to)
             : format::holds(other(draft_.to), to) ? fmt::format("--to {} can", name(other(draft_.to)))
                                                   : "choose another type");
    }
    if (to == from) return;
    if (draft_.options.recipe && !rule_of(i))
      require_allowed(*draft_.options.recipe, source, to, draft_.options.importance == Importance::file);
    if (!codec::can_decode(from)) {
      refuse(fmt::format("this version can't decode {} to make {}", name(from), name(to)),
             draft_.holds(from) ? "without a type it is copied as it is" : way_out(from, draft_.to));
    }
    if (!codec::can_encode(to)) {
      refuse(fmt::format("this version can't make {} tensors", name(to)),
             is_block(to) ? "it reads them; choose another type" : "choose another type");
    }
  }

  std::optional<DType> asked_for(std::size_t i) const {
    const Rule* rule = rule_of(i);
    return rule && rule->action.kind == Kind::type ? rule->action.types.front() : draft_.options.type;
  }

  void note() {
    // Rules that match, but never get to say anything: an earlier one did, or the tensors are of a type that stays.
    for (std::size_t i = 0; i < has_decided_.size(); ++i) {
      if (has_decided_[i]) continue;
      draft_.notes.push_back(
          fmt::format("rule '{}' decides nothing: earlier rules or the tensors' own types leave it nothing to do",
                      format::printable(to_string(draft_.options.rules[i]))));
    }
    if (fallback_.count > 0) {
      draft_.notes.push_back(
          fmt::format("rows that are no whole number of blocks of the type asked for get another, see 'why': {}",
                      fallback_.text()));
    }
    if (requantised_.count > 0) {
      draft_.notes.push_back(fmt::format(
          "{} is quantised already and will be quantised a second time, which costs accuracy", requantised_.text()));
    }
    Tally waiting;
    for (std::uint32_t i = 0; i < draft_.tensors.size(); ++i) {
      if (draft_.origins[i].why != Reason::unmeasured) continue;
      draft_.unmeasured.push_back(i);
      waiting.add(draft_.tensors[i].name);
    }
    if (waiting.count > 0) {
      draft_.notes.push_back(fmt::format(
          "the type of what a rule bounds by its error is found by a look at the data: {}", waiting.text()));
    }
  }

  Draft& draft_;
  const Measured* measured_;
  std::vector<bool> has_decided_;  // of the caller's rules
  Tally fallback_, requantised_;
};

}  // namespace

void decide_types(Draft& draft, const Measured* measured) { Decider(draft, measured).run(); }

}  // namespace headrace::plan
