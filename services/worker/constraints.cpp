#include "worker/constraints.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace bellwether::worker {

namespace grammar = text::grammar;

namespace {

using Ids = std::vector<int32_t>;

bool is_in(const Ids& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

text::ToolCallForm form_of(v1::Constraint::CallForm form) {
  switch (form) {
    case v1::Constraint::CALL_FORM_FENCED:
      return text::ToolCallForm::kFenced;
    case v1::Constraint::CALL_FORM_PLAIN:
      return text::ToolCallForm::kPlain;
    default:
      throw grammar::GrammarError("", "constraint.calls.form is not known");
  }
}

grammar::ToolCallGrammar calls_of(const v1::Constraint::Calls& message) {
  constexpr int kFunctionsMax = 128;
  if (message.functions().empty() || message.functions_size() > kFunctionsMax) {
    throw grammar::GrammarError("", "constraint.calls.functions has none, or more than 128");
  }
  grammar::ToolCallGrammar calls{.functions = {}, .form = form_of(message.form()), .is_parallel = message.parallel()};
  for (const v1::Constraint::Function& function : message.functions()) {
    calls.functions.push_back({.name = function.name(), .parameters = function.parameters()});
  }
  return calls;
}

}  // namespace

grammar::Constraint constraint_of(const v1::Constraint& message) {
  grammar::Constraint constraint;
  switch (message.text_case()) {
    case v1::Constraint::kAnyText:
      constraint.text = grammar::AnyText{};
      break;
    case v1::Constraint::kAnyJsonObject:
      constraint.text = grammar::AnyJsonObject{};
      break;
    case v1::Constraint::kJsonSchema:
      constraint.text = grammar::JsonSchema{message.json_schema()};
      break;
    case v1::Constraint::kRegex:
      constraint.text = grammar::Regex{message.regex()};
      break;
    case v1::Constraint::kChoice:
      constraint.text = grammar::Choice{{message.choice().texts().begin(), message.choice().texts().end()}};
      break;
    case v1::Constraint::kEbnf:
      constraint.text = grammar::Ebnf{message.ebnf()};
      break;
    case v1::Constraint::TEXT_NOT_SET:
      break;
  }
  if (message.has_calls()) constraint.calls = calls_of(message.calls());
  if (!constraint.text && !constraint.calls)
    throw grammar::GrammarError("", "constraint allows neither text nor calls");
  constraint.follows_reasoning = message.has_reasoning_end_id() && !message.has_reasoning_begin_id();
  return constraint;
}

GrammarConstraint::GrammarConstraint(std::shared_ptr<grammar::TokenMasks> masks,
                                     std::shared_ptr<MaskThread> mask_thread, Ids end_ids, Ids eos_ids,
                                     Reasoning reasoning)
    : masks_(std::move(masks)),
      mask_thread_(std::move(mask_thread)),
      matcher_(masks_, std::move(end_ids)),
      eos_ids_(std::move(eos_ids)),
      reasoning_(reasoning),
      state_(!reasoning.end_id    ? State::kAnswer
             : reasoning.begin_id ? State::kStart
                                  : State::kReasoning) {
  prepare();
}

void GrammarConstraint::prepare() {
  const std::vector<grammar::State> missing = matcher_.missing_masks();
  if (!missing.empty()) mask_thread_->prepare(masks_, missing);
}

void GrammarConstraint::accept_answer(int32_t id) {
  matcher_.accept(id);
  prepare();
}

bool GrammarConstraint::fill_allowed(std::span<uint64_t> allowed) {
  if (state_ == State::kReasoning) {
    std::ranges::fill(allowed, ~uint64_t{0});
    for (const int32_t id : eos_ids_) allowed[static_cast<size_t>(id) / 64] &= ~(uint64_t{1} << (id % 64));
    return true;
  }
  matcher_.fill_allowed(allowed);
  if (state_ == State::kStart) {
    const auto id = static_cast<size_t>(*reasoning_.begin_id);
    allowed[id / 64] |= uint64_t{1} << (id % 64);
  }
  return true;
}

void GrammarConstraint::accept(int32_t id) {
  switch (state_) {
    case State::kStart:
      state_ = id == reasoning_.begin_id ? State::kReasoning : State::kAnswer;
      if (state_ == State::kAnswer) accept_answer(id);
      break;
    case State::kReasoning:
      if (id == reasoning_.end_id) state_ = State::kAnswer;
      break;
    case State::kAnswer:
      accept_answer(id);
      break;
  }
}

Constraints::Constraints(std::shared_ptr<const grammar::Vocabulary> vocabulary, Ids eos_ids,
                         grammar::GrammarLimits limits)
    : vocabulary_(std::move(vocabulary)), eos_ids_(std::move(eos_ids)), limits_(limits) {
  if (vocabulary_ != nullptr) mask_thread_ = std::make_shared<MaskThread>();
}

std::shared_ptr<grammar::TokenMasks> Constraints::masks_of(const v1::Constraint& constraint) {
  if (vocabulary_ == nullptr) throw grammar::GrammarError("", "this replica has no tokenizer, which constraints need");
  for (const auto& id : {constraint.reasoning_begin_id(), constraint.reasoning_end_id()}) {
    if (id >= vocabulary_->size()) throw grammar::GrammarError("", "constraint has an id outside the vocabulary");
  }
  std::string serialized = constraint.SerializeAsString();
  const auto known = std::ranges::find(kept_, serialized, &Kept::constraint);
  if (known != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, known);
    return kept_.front().masks;
  }
  const auto automaton = grammar::compile(constraint_of(constraint), limits_,
                                          [&](std::string_view marker) { return vocabulary_->has_marker(marker); });
  kept_.push_front({std::move(serialized), std::make_shared<grammar::TokenMasks>(automaton, vocabulary_)});
  if (kept_.size() > kKeptMax) kept_.pop_back();
  return kept_.front().masks;
}

std::shared_ptr<engine::TokenConstraint> Constraints::make(const v1::Constraint& constraint,
                                                           std::shared_ptr<grammar::TokenMasks> masks,
                                                           const Ids& stop_ids) const {
  Ids end_ids = eos_ids_;
  std::ranges::copy_if(stop_ids, std::back_inserter(end_ids), [&](int32_t id) { return !is_in(eos_ids_, id); });
  GrammarConstraint::Reasoning reasoning;
  if (constraint.has_reasoning_begin_id()) reasoning.begin_id = static_cast<int32_t>(constraint.reasoning_begin_id());
  if (constraint.has_reasoning_end_id()) reasoning.end_id = static_cast<int32_t>(constraint.reasoning_end_id());
  return std::make_shared<GrammarConstraint>(std::move(masks), mask_thread_, std::move(end_ids), eos_ids_, reasoning);
}

}  // namespace bellwether::worker
