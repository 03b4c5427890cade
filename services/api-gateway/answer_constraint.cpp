#include "api-gateway/answer_constraint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include <boost/json/serialize.hpp>

namespace bellwether::gateway {

namespace grammar = text::grammar;
namespace json = boost::json;

namespace {

constexpr size_t kPathBytesMax = 256;  // names in it are the client's, of any length

[[noreturn]] void refuse(const std::string& path, const std::string& complaint) {
  const std::string shown(text::utf8_prefix(path, kPathBytesMax));
  throw RequestFailed({400, "bad_request", fmt::format("`{}` {}", shown, complaint), shown});
}

bool is_strict(const json::object& function) {
  const json::value* const strict = function.if_contains("strict");
  return strict != nullptr && strict->is_bool() && strict->get_bool();
}

grammar::ToolFunction function_of(const json::object& function, bool is_constrained) {
  grammar::ToolFunction made{.name = std::string(function.at("name").as_string())};
  const json::value* const parameters = function.if_contains("parameters");
  if (is_constrained && parameters != nullptr && !parameters->is_null()) made.parameters = json::serialize(*parameters);
  return made;
}

void write_form(const grammar::TextForm& form, v1::Constraint& message) {
  struct Writer {
    v1::Constraint& message;
    void operator()(const grammar::AnyText& /*form*/) const { message.mutable_any_text(); }
    void operator()(const grammar::AnyJsonObject& /*form*/) const { message.mutable_any_json_object(); }
    void operator()(const grammar::JsonSchema& schema) const { message.set_json_schema(schema.schema); }
    void operator()(const grammar::Regex& regex) const { message.set_regex(regex.pattern); }
    void operator()(const grammar::Choice& choice) const {
      for (const std::string& text : choice.texts) message.mutable_choice()->add_texts(text);
    }
    void operator()(const grammar::Ebnf& ebnf) const { message.set_ebnf(ebnf.source); }
  };
  std::visit(Writer{message}, form);
}

v1::Constraint message_of(const grammar::Constraint& constraint) {
  v1::Constraint message;
  if (constraint.text) write_form(*constraint.text, message);
  if (!constraint.calls) return message;
  v1::Constraint::Calls& calls = *message.mutable_calls();
  const bool is_fenced = constraint.calls->form == text::ToolCallForm::kFenced;
  calls.set_form(is_fenced ? v1::Constraint::CALL_FORM_FENCED : v1::Constraint::CALL_FORM_PLAIN);
  calls.set_parallel(constraint.calls->is_parallel);
  for (const grammar::ToolFunction& function : constraint.calls->functions) {
    v1::Constraint::Function& made = *calls.add_functions();
    made.set_name(function.name);
    made.set_parameters(function.parameters);
  }
  return message;
}

// "/functions/3/parameters/type" -> 3, "/type". Nothing when it is no such place.
std::optional<std::pair<size_t, std::string>> place_in_function(const std::string& where) {
  constexpr std::string_view kBefore = "/functions/";
  constexpr std::string_view kAfter = "/parameters";
  if (!where.starts_with(kBefore)) return std::nullopt;
  size_t index = 0;
  const char* const begin = where.data() + kBefore.size();
  const auto [end, error] = std::from_chars(begin, where.data() + where.size(), index);
  const std::string rest(end, where.data() + where.size());
  if (error != std::errc() || !rest.starts_with(kAfter)) return std::nullopt;
  return std::pair(index, rest.substr(kAfter.size()));
}

// What the chat's tools ask of the answer, if they ask anything.
std::optional<grammar::ToolCallGrammar> calls_of(const ChatRequest& chat, const ServedModel& model,
                                                 std::vector<std::string>& paths) {
  using Kind = ToolChoice::Kind;
  const Kind kind = chat.tool_choice.kind;
  const std::vector<json::value>& tools = chat.conversation.tools;
  if (tools.empty()) return std::nullopt;
  const bool must_call = kind == Kind::kRequired || kind == Kind::kNamed;
  grammar::ToolCallGrammar calls{.functions = {}, .is_parallel = chat.parallel_tool_calls && kind != Kind::kNamed};
  bool any_strict = false;
  for (size_t i = 0; i < tools.size(); ++i) {
    const json::object& function = tools[i].at("function").as_object();
    if (kind == Kind::kNamed && function.at("name").as_string() != std::string_view(chat.tool_choice.name)) continue;
    any_strict = any_strict || is_strict(function);
    calls.functions.push_back(function_of(function, must_call || is_strict(function)));
    paths.push_back(fmt::format("tools[{}].{}", i, chat.tool_parameters_name));
  }
  const bool is_form_constrained = chat.parameters.text_constraint.has_value();
  if (!must_call && !any_strict && !is_form_constrained) return std::nullopt;
  if (const auto form = model.chat_format->tool_call_form()) {
    calls.form = *form;
    return calls;
  }
  if (must_call)
    refuse("tool_choice", "other than \"none\" and \"auto\" is not supported with this model's chat format");
  if (any_strict) refuse("tools", "with `strict` functions are not supported with this model's chat format");
  return std::nullopt;
}

void set_reasoning(const ServedModel& model, bool opens_reasoning, v1::Constraint& message) {
  if (opens_reasoning && !model.reasoning_end_id) {
    throw RequestFailed(
        {400, "bad_request", "this model's answers cannot be constrained: the end of its reasoning is not a token"});
  }
  if (!model.reasoning_end_id) return;
  if (!opens_reasoning && !model.reasoning_begin_id) return;
  message.set_reasoning_end_id(static_cast<uint32_t>(*model.reasoning_end_id));
  if (!opens_reasoning) message.set_reasoning_begin_id(static_cast<uint32_t>(*model.reasoning_begin_id));
}

}  // namespace

std::optional<AnswerConstraint> text_constraint_of(const GenerationParameters& parameters) {
  if (!parameters.text_constraint) return std::nullopt;
  AnswerConstraint made{.grammar = {.text = parameters.text_constraint->form},
                        .message = {},
                        .text_path = parameters.text_constraint->path};
  made.message = message_of(made.grammar);
  return made;
}

std::optional<AnswerConstraint> chat_constraint_of(const ChatRequest& chat, const ServedModel& model,
                                                   bool opens_reasoning) {
  AnswerConstraint made;
  made.grammar.calls = calls_of(chat, model, made.call_paths);
  const bool must_call =
      chat.tool_choice.kind == ToolChoice::Kind::kRequired || chat.tool_choice.kind == ToolChoice::Kind::kNamed;
  if (!must_call && chat.parameters.text_constraint) {
    made.grammar.text = chat.parameters.text_constraint->form;
    made.text_path = chat.parameters.text_constraint->path;
  } else if (!must_call && made.grammar.calls) {
    made.grammar.text = grammar::AnyText{};
  }
  if (!made.grammar.text && !made.grammar.calls) return std::nullopt;
  made.message = message_of(made.grammar);
  set_reasoning(model, opens_reasoning, made.message);
  return made;
}

void compile_for_complaints(const AnswerConstraint& constraint, const ServedModel& model) {
  try {
    (void)grammar::compile(constraint.grammar, {}, [&](std::string_view marker) {
      return model.tokenizer.id_of_added_token(marker).has_value();
    });
  } catch (const grammar::GrammarError& error) {
    const auto place = place_in_function(error.where());
    if (place && place->first < constraint.call_paths.size()) {
      refuse(constraint.call_paths[place->first] + place->second, error.complaint());
    }
    const std::string path = constraint.text_path.empty() ? "tools" : constraint.text_path;
    if (error.where().starts_with('/')) refuse(path + error.where(), error.complaint());
    throw RequestFailed({400, "bad_request", fmt::format("`{}` cannot be used: {}", path, error.what()), path});
  }
}

}  // namespace bellwether::gateway
