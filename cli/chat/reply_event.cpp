#include "cli/chat/reply_event.h"

#include <fmt/format.h>

#include <cstddef>
#include <exception>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

namespace bellwether::cli {
namespace {

namespace json = boost::json;

constexpr size_t kBodyBytesShown = 300;

// The member of an object, or nullptr when `value` is none or has no such member or it is null.
const json::value* member(const json::value& value, std::string_view name) {
  const json::object* object = value.if_object();
  const json::value* found = object == nullptr ? nullptr : object->if_contains(name);
  return found == nullptr || found->is_null() ? nullptr : found;
}

std::string text_member(const json::value& value, std::string_view name) {
  const json::value* found = member(value, name);
  const json::string* text = found == nullptr ? nullptr : found->if_string();
  return text == nullptr ? std::string() : std::string(text->data(), text->size());
}

// Empty when `value` is no error in OpenAI's shape. Some servers send the message alone as "error".
std::string error_of(const json::value& value) {
  const json::value* error = member(value, "error");
  if (error == nullptr) return {};
  const std::string message = error->is_string() ? text_member(value, "error") : text_member(*error, "message");
  return message.empty() ? "the server reports an error without a message" : message;
}

void read_choice(const json::value& choice, ReplyEvent& event) {
  event.finish_reason = text_member(choice, "finish_reason");
  const json::value* delta = member(choice, "delta");
  if (delta == nullptr) return;
  event.content = text_member(*delta, "content");
  event.reasoning = text_member(*delta, "reasoning_content");
  if (event.reasoning.empty()) event.reasoning = text_member(*delta, "reasoning");  // vLLM's newer name for it
}

void read_chunk(const json::value& chunk, ReplyEvent& event) {
  event.error = error_of(chunk);
  if (const json::value* choices = member(chunk, "choices"); choices != nullptr && choices->is_array()) {
    if (!choices->as_array().empty()) read_choice(choices->as_array().front(), event);
  }
  if (const json::value* usage = member(chunk, "usage")) {
    const json::value* tokens = member(*usage, "completion_tokens");
    if (tokens != nullptr && tokens->is_int64()) event.completion_tokens = tokens->as_int64();
  }
}

}  // namespace

ReplyEvent parse_reply_event(std::string_view data) {
  ReplyEvent event;
  if (data == "[DONE]") {
    event.done = true;
    return event;
  }
  boost::system::error_code error;
  const json::value chunk = json::parse(data, error);
  if (error || !chunk.is_object()) {
    event.error = fmt::format("the server sent what is no JSON object: {}", data.substr(0, kBodyBytesShown));
    return event;
  }
  read_chunk(chunk, event);
  return event;
}

std::string error_message(long status, std::string_view body) {
  boost::system::error_code error;
  const json::value value = json::parse(body, error);
  if (!error) {
    if (std::string message = error_of(value); !message.empty()) return message;
  }
  if (body.empty()) return fmt::format("the server answered with status {}", status);
  return fmt::format("the server answered with status {}: {}", status, body.substr(0, kBodyBytesShown));
}

std::vector<std::string> model_ids(std::string_view body) {
  boost::system::error_code error;
  const json::value value = json::parse(body, error);
  const json::value* list = error ? nullptr : member(value, "data");
  std::vector<std::string> ids;
  if (list == nullptr || !list->is_array()) return ids;
  for (const json::value& model : list->as_array()) {
    if (std::string id = text_member(model, "id"); !id.empty()) ids.push_back(std::move(id));
  }
  return ids;
}

}  // namespace bellwether::cli
