#include "cli/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <cstddef>
#include <memory>
#include <mutex>

#include "mesh/error.h"

namespace bellwether::cli {
namespace {

constexpr long kConnectTimeoutMs = 5000;
constexpr long kSilenceSecondsMax = 600;
constexpr size_t kReplyBytesMax = 16 * 1024 * 1024;
constexpr size_t kErrorBodyBytesMax = 64 * 1024;
constexpr int kPollMs = 1000;

struct EasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;

struct MultiDeleter {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};
using Multi = std::unique_ptr<CURLM, MultiDeleter>;

struct HeadersDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, HeadersDeleter>;

void add_header(Headers& headers, const std::string& line) {
  curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
  if (longer == nullptr) throw std::bad_alloc();
  static_cast<void>(headers.release());
  headers.reset(longer);
}

Headers make_headers(const std::string& api_key) {
  Headers headers;
  if (!api_key.empty()) add_header(headers, "Authorization: Bearer " + api_key);
  return headers;
}

Easy make_easy(const std::string& url) {
  static std::once_flag initialised;
  std::call_once(initialised, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  Easy easy(curl_easy_init());
  if (!easy) throw std::bad_alloc();
  curl_easy_setopt(easy.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  curl_easy_setopt(easy.get(), CURLOPT_USERAGENT, "bellwether/" BELLWETHER_VERSION);
  return easy;
}

long status_of(CURL* easy) {
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

[[noreturn]] void fail(const std::string& url, CURLcode code) {
  throw mesh::Error(mesh::ErrorCode::kUnavailable, fmt::format("{}: {}", url, curl_easy_strerror(code)));
}

size_t append_body(char* data, size_t, size_t bytes, void* target) {
  auto& body = *static_cast<std::string*>(target);
  if (body.size() + bytes > kReplyBytesMax) return 0;
  body.append(data, bytes);
  return bytes;
}

struct StreamState {
  const HttpStreamRequest& request;
  CURL* easy;
  HttpStreamEnd end;
};

size_t take_stream(char* data, size_t, size_t bytes, void* target) {
  auto& state = *static_cast<StreamState*>(target);
  if (status_of(state.easy) == 200) {
    if (state.request.on_bytes(std::string_view(data, bytes))) return bytes;
    state.end.stopped = true;
    return 0;
  }
  if (state.end.error_body.size() + bytes <= kErrorBodyBytesMax) state.end.error_body.append(data, bytes);
  return bytes;
}

// Until the transfer has ended. False when the stop descriptor became readable first.
bool run_transfer(CURLM* multi, int stop_descriptor) {
  int running = 1;
  while (true) {
    curl_multi_perform(multi, &running);
    if (running == 0) return true;
    curl_waitfd stop{stop_descriptor, CURL_WAIT_POLLIN, 0};
    curl_multi_poll(multi, &stop, stop_descriptor >= 0 ? 1 : 0, kPollMs, nullptr);
    if (stop.revents != 0) return false;
  }
}

CURLcode result_of(CURLM* multi) {
  int left = 0;
  const CURLMsg* message = curl_multi_info_read(multi, &left);
  return message != nullptr && message->msg == CURLMSG_DONE ? message->data.result : CURLE_OK;
}

}  // namespace

HttpReply http_get(const std::string& url, const std::string& api_key, std::chrono::milliseconds timeout) {
  const Easy easy = make_easy(url);
  const Headers headers = make_headers(api_key);
  HttpReply reply;
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &append_body);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &reply.body);
  if (const CURLcode code = curl_easy_perform(easy.get()); code != CURLE_OK) fail(url, code);
  reply.status = status_of(easy.get());
  return reply;
}

HttpStreamEnd http_post_stream(const HttpStreamRequest& request) {
  const Easy easy = make_easy(request.url);
  Headers headers = make_headers(request.api_key);
  add_header(headers, "Content-Type: application/json");
  add_header(headers, "Accept: text/event-stream");
  add_header(headers, "Expect:");  // no waiting for "100 Continue"
  StreamState state{request, easy.get(), {}};
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.json_body.size()));
  curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDS, request.json_body.data());
  curl_easy_setopt(easy.get(), CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_LOW_SPEED_TIME, kSilenceSecondsMax);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &take_stream);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &state);

  const Multi multi(curl_multi_init());
  if (!multi) throw std::bad_alloc();
  curl_multi_add_handle(multi.get(), easy.get());
  const bool ended = run_transfer(multi.get(), request.stop_descriptor);
  const CURLcode code = result_of(multi.get());
  state.end.status = status_of(easy.get());
  state.end.stopped = state.end.stopped || !ended;
  curl_multi_remove_handle(multi.get(), easy.get());
  if (code != CURLE_OK && !state.end.stopped) fail(request.url, code);
  return std::move(state.end);
}

}  // namespace bellwether::cli
