#include "api-gateway/served_model.h"

#include <fmt/format.h>

#include <algorithm>

#include <boost/json/parse.hpp>

#include "api-gateway/json_fields.h"
#include "mesh/error.h"
#include "text/deepseek_markers.h"
#include "text/template_format.h"
#include "text/tool_calls.h"

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

json::object parse_file(const std::string& text, const char* file) {
  if (text.empty()) return {};
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  if (error || !value.is_object()) {
    throw mesh::Error(mesh::ErrorCode::kInternal, fmt::format("the model's {} is not a JSON object", file));
  }
  return std::move(value.get_object());
}

// One id or a list of them.
std::vector<uint32_t> read_ids(const json::object& file, std::string_view name) {
  std::vector<uint32_t> ids;
  const json::value* value = file.if_contains(name);
  if (value == nullptr) return ids;
  const auto add = [&](const json::value& id) {
    if (id.is_int64() && id.get_int64() >= 0 && id.get_int64() <= std::numeric_limits<int32_t>::max()) {
      ids.push_back(static_cast<uint32_t>(id.get_int64()));
    }
  };
  if (value->is_array()) {
    std::for_each(value->get_array().begin(), value->get_array().end(), add);
  } else {
    add(*value);
  }
  return ids;
}

// Hugging Face writes a special token as its text or as an object with "content".
std::optional<text::TokenId> read_special_token(const json::object& file, std::string_view name,
                                                const text::Tokenizer& tokenizer) {
  const json::value* value = file.if_contains(name);
  if (value != nullptr && value->is_object()) value = value->get_object().if_contains("content");
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return tokenizer.id_of_added_token(value->get_string());
}

GenerationDefaults read_defaults(const json::object& file) {
  const JsonFields fields(file, "generation_config.json");
  GenerationDefaults defaults;
  try {
    defaults.temperature = fields.number("temperature", 0, 100).value_or(defaults.temperature);
    defaults.top_p = fields.number("top_p", 0, 1).value_or(defaults.top_p);
    const int64_t top_k = fields.integer("top_k", -1, std::numeric_limits<int32_t>::max()).value_or(0);
    defaults.top_k = top_k == -1 ? 0 : static_cast<uint32_t>(top_k);
  } catch (const mesh::Error& error) {
    throw mesh::Error(mesh::ErrorCode::kInternal, fmt::format("the model's {}", error.what()));
  }
  if (defaults.top_p == 0) defaults.top_p = 1;
  return defaults;
}

text::Tokenizer read_tokenizer(const v1::ModelCard& card) {
  try {
    return text::Tokenizer::from_json(card.tokenizer_json());
  } catch (const text::TextError& error) {
    throw mesh::Error(mesh::ErrorCode::kInternal, fmt::format("the model's tokenizer.json: {}", error.what()));
  }
}

std::shared_ptr<const text::ChatFormat> read_chat_format(const v1::ModelCard& card, const text::jinja::Limits& limits) {
  try {
    return text::make_chat_format(card.chat_format(), card.tokenizer_config_json(), limits);
  } catch (const text::TextError& error) {
    throw mesh::Error(mesh::ErrorCode::kInternal, error.what());
  }
}

}  // namespace

ServedModel make_served_model(const v1::ModelCard& card, const text::jinja::Limits& template_limits) {
  const json::object config = parse_file(card.config_json(), "config.json");
  const json::object generation = parse_file(card.generation_config_json(), "generation_config.json");
  const json::object tokenizer_config = parse_file(card.tokenizer_config_json(), "tokenizer_config.json");

  ServedModel model{.digest = card.digest(), .tokenizer = read_tokenizer(card)};
  model.chat_format = read_chat_format(card, template_limits);
  model.defaults = read_defaults(generation);
  model.eos_ids = read_ids(generation, "eos_token_id");
  if (model.eos_ids.empty()) model.eos_ids = read_ids(config, "eos_token_id");
  if (model.eos_ids.empty()) {
    if (const auto eos = read_special_token(tokenizer_config, "eos_token", model.tokenizer)) {
      model.eos_ids.push_back(static_cast<uint32_t>(*eos));
    }
  }
  const json::value* add_bos = tokenizer_config.if_contains("add_bos_token");
  if (add_bos != nullptr && add_bos->is_bool() && add_bos->get_bool()) {
    model.bos_id = read_special_token(tokenizer_config, "bos_token", model.tokenizer);
  }
  for (const std::string& marker : text::tool_call_markers()) {
    if (const auto id = model.tokenizer.id_of_added_token(marker)) model.tool_marker_ids.push_back(*id);
  }
  model.reasoning_begin_id = model.tokenizer.id_of_added_token(text::deepseek::kThinkOpen);
  model.reasoning_end_id = model.tokenizer.id_of_added_token(text::deepseek::kThinkClose);
  for (text::TokenId id = 0; id < model.tokenizer.id_limit(); ++id) {
    model.token_bytes_max = std::max(model.token_bytes_max, model.tokenizer.bytes(id).size());
  }
  model.context_tokens_max = card.context_tokens_max();
  return model;
}

}  // namespace bellwether::gateway
