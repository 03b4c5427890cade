#include "e2e/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <exception>
#include <memory>
#include <stdexcept>

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>

#include "e2e/sse_reader.h"

namespace bellwether::e2e {
namespace {

namespace json = boost::json;

constexpr long kSecondsMax = 280;        // under the time limit of the whole program
constexpr long kSilenceSecondsMax = 90;  // even a machine that is busy with other things does better

struct EasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;

struct HeadersDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, HeadersDeleter>;

Easy make_easy(const std::string& url) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  Easy easy(curl_easy_init());
  if (initialised != CURLE_OK || !easy) throw std::runtime_error("libcurl does not start");
  curl_easy_setopt(easy.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT, kSecondsMax);
  curl_easy_setopt(easy.get(), CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_LOW_SPEED_TIME, kSilenceSecondsMax);
  return easy;
}

Headers post(CURL* easy, const std::string& body, const std::vector<std::string>& more = {}) {
  Headers headers(curl_slist_append(nullptr, "Content-Type: application/json"));
  for (const std::string& line : more) curl_slist_append(headers.get(), line.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data());
  return headers;
}

size_t take_body(char* data, size_t, size_t bytes, void* target) {
  static_cast<Reply*>(target)->body.append(data, bytes);
  return bytes;
}

size_t take_header(char* data, size_t, size_t bytes, void* target) {
  const std::string_view line(data, bytes);
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return bytes;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  std::string_view value = line.substr(colon + 1);
  while (value.starts_with(' ')) value.remove_prefix(1);
  while (value.ends_with('\r') || value.ends_with('\n')) value.remove_suffix(1);
  static_cast<Reply*>(target)->headers[name] = value;
  return bytes;
}

Reply perform(CURL* easy, const std::string& url) {
  Reply reply;
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &take_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &reply);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &take_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &reply);
  const CURLcode code = curl_easy_perform(easy);
  if (code != CURLE_OK) throw std::runtime_error(url + ": " + curl_easy_strerror(code));
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &reply.status);
  return reply;
}

struct Streaming {
  CURL* easy;
  const OnEvent& on_event;
  StreamedReply reply;
  SseReader reader;
  std::exception_ptr failure;
  bool left = false;
};

std::string text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? json::value_to<std::string>(*value) : std::string();
}

void take_calls(const json::object& delta, StreamedReply& reply) {
  const json::value* calls = delta.if_contains("tool_calls");
  if (calls == nullptr) return;
  for (const json::value& call : calls->as_array()) {
    const json::object& function = call.at("function").as_object();
    if (const std::string name = text_of(function, "name"); !name.empty()) reply.calls += "\n" + name + " ";
    reply.calls += text_of(function, "arguments");
  }
}

void take_choice(const json::object& choice, StreamedReply& reply) {
  std::string content = text_of(choice, "text");
  std::string reasoning;
  if (const json::value* delta = choice.if_contains("delta")) {
    content = text_of(delta->as_object(), "content");
    reasoning = text_of(delta->as_object(), "reasoning_content");
    take_calls(delta->as_object(), reply);
  }
  if (!content.empty() || !reasoning.empty()) ++reply.text_events;
  reply.content += content;
  reply.reasoning += reasoning;
  if (std::string reason = text_of(choice, "finish_reason"); !reason.empty()) reply.finish_reasons.push_back(reason);
}

void take_event(const std::string& data, StreamedReply& reply) {
  if (reply.done) throw std::runtime_error("an event after [DONE]: " + data);
  if (data == "[DONE]") {
    reply.done = true;
    return;
  }
  const json::value event = json::parse(data);
  if (event.as_object().contains("error")) {
    reply.error = data;
    return;
  }
  for (const json::value& choice : event.at("choices").as_array()) take_choice(choice.as_object(), reply);
  const json::value* usage = event.as_object().if_contains("usage");
  if (usage != nullptr && usage->is_object()) reply.usage = *usage;
}

size_t take_stream(char* data, size_t, size_t bytes, void* target) {
  auto& streaming = *static_cast<Streaming*>(target);
  StreamedReply& reply = streaming.reply;
  curl_easy_getinfo(streaming.easy, CURLINFO_RESPONSE_CODE, &reply.status);
  if (reply.status != 200) {
    reply.error.append(data, bytes);
    return bytes;
  }
  try {
    for (const std::string& event : streaming.reader.push(std::string_view(data, bytes))) {
      const int before = reply.text_events;
      take_event(event, reply);
      if (reply.text_events > before && streaming.on_event && !streaming.on_event(reply)) {
        streaming.left = true;
        return 0;
      }
    }
  } catch (...) {
    streaming.failure = std::current_exception();
    return 0;
  }
  return bytes;
}

}  // namespace

boost::json::value Reply::json() const {
  return json::parse(body);
}

Reply http_get(const std::string& url) {
  const Easy easy = make_easy(url);
  return perform(easy.get(), url);
}

Reply http_post(const std::string& url, const std::string& body, const std::vector<std::string>& more) {
  const Easy easy = make_easy(url);
  const Headers headers = post(easy.get(), body, more);
  return perform(easy.get(), url);
}

StreamedReply http_stream(const std::string& url, const std::string& body, const OnEvent& on_event) {
  const Easy easy = make_easy(url);
  const Headers headers = post(easy.get(), body);
  Streaming streaming{easy.get(), on_event, {}, {}, nullptr};
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &take_stream);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &streaming);
  const CURLcode code = curl_easy_perform(easy.get());
  if (streaming.failure) std::rethrow_exception(streaming.failure);
  if (code != CURLE_OK && !streaming.left) throw std::runtime_error(url + ": " + curl_easy_strerror(code));
  if (!streaming.left && !streaming.reader.at_event_end()) throw std::runtime_error("the stream ends inside an event");
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &streaming.reply.status);
  const char* type = nullptr;
  curl_easy_getinfo(easy.get(), CURLINFO_CONTENT_TYPE, &type);
  if (type != nullptr) streaming.reply.content_type = type;
  return std::move(streaming.reply);
}

}  // namespace bellwether::e2e
