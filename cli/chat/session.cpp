#include "cli/chat/session.h"

#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace bellwether::cli {
namespace {

namespace json = boost::json;

json::object message(const char* role, const std::string& content) {
  json::object object;
  object["role"] = role;
  object["content"] = content;
  return object;
}

}  // namespace

ChatSession::ChatSession(std::string model, std::string system, std::optional<double> temperature)
    : model_(std::move(model)), system_(std::move(system)), temperature_(temperature) {}

std::string ChatSession::request_body(const std::string& prompt) const {
  json::array messages;
  if (!system_.empty()) messages.push_back(message("system", system_));
  for (const Turn& turn : turns_) {
    messages.push_back(message("user", turn.prompt));
    messages.push_back(message("assistant", turn.answer));
  }
  messages.push_back(message("user", prompt));

  json::object body;
  body["model"] = model_;
  body["messages"] = std::move(messages);
  body["stream"] = true;
  body["stream_options"] = json::object{{"include_usage", true}};
  if (temperature_) body["temperature"] = *temperature_;
  return json::serialize(body);
}

void ChatSession::remember(std::string prompt, std::string answer) {
  turns_.push_back({std::move(prompt), std::move(answer)});
}

void ChatSession::reset() {
  turns_.clear();
}

}  // namespace bellwether::cli
