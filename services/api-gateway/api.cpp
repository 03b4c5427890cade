#include "api-gateway/api.h"

#include <fmt/format.h>

#include <exception>
#include <iterator>
#include <utility>

#include "api-gateway/messages_reply.h"
#include "api-gateway/request_headers.h"
#include "api-gateway/request_id.h"
#include "api-gateway/sse.h"
#include "mesh/log.h"

namespace bellwether::gateway {

namespace asio = boost::asio;
using mesh::HttpExchange;
using mesh::HttpResponse;

namespace {

constexpr std::chrono::milliseconds kRetryAfter{1000};
constexpr unsigned kStatusClientGone = 499;  // nginx's, for logs and metrics only

// What failed, in a catch block.
Failure current_failure(const Access& access) {
  try {
    throw;
  } catch (const RequestFailed& error) {
    return error.failure();
  } catch (const mesh::Error& error) {
    if (error.code() == mesh::ErrorCode::kInternal) {
      mesh::log::error("request failed", {{"request_id", access.id.mesh}, {"error", error.what()}});
    }
    return failure_of(error);
  } catch (const text::TextError& error) {
    return {400, "bad_request", error.what()};
  } catch (const std::exception& error) {
    mesh::log::error("request failed", {{"request_id", access.id.mesh}, {"error", error.what()}});
    return failure_of({mesh::ErrorCode::kInternal, error.what()});
  }
}

void note(const Failure& failure, Access& access) {
  access.reason = failure.reason;
  access.detail = failure.detail;
}

// In OpenTelemetry's names, where it has them.
void describe(Access& access, const mesh::HttpRequest& request) {
  mesh::Span& span = access.span;
  if (!span.recorded()) return;
  span.set("http.request.method", request.method);
  span.set("http.route", access.path);
  span.set("http.response.status_code", access.status);
  span.set("bellwether.request_id", access.id.mesh);
  if (!access.caller.tenant().empty()) span.set("bellwether.tenant", access.caller.tenant());
  if (!access.model.empty()) span.set("gen_ai.request.model", access.model);
  if (access.placed) {
    span.set("gen_ai.usage.input_tokens", access.prompt_tokens);
    span.set("gen_ai.usage.output_tokens", access.completion_tokens);
  }
  const std::string_view error = access.client_gone ? "client_gone" : std::string_view(access.reason);
  if (error.empty()) return;
  span.set("error.type", error);
  if (access.client_gone || access.status >= 500 || access.placed) span.fail(error);
}

HttpResponse with_id(HttpResponse response, const Access& access) {
  response.headers.emplace_back("x-request-id", access.id.client);
  response.headers.insert(response.headers.end(), access.headers.begin(), access.headers.end());
  return response;
}

void note_placed(Access& access) {
  if (!access.placed) access.span.event("placed");
  access.placed = true;
}

void note_progress(const ReplyStream& reply, Access& access) {
  if (access.completion_tokens == 0 && reply.usage().completion_tokens > 0) access.span.event("first token");
  access.completion_tokens = reply.usage().completion_tokens;
}

// Calls come in their order: what belongs to the last one goes on with it.
void append(std::vector<CallDelta>& calls, std::vector<CallDelta> more) {
  for (CallDelta& call : more) {
    if (!call.name.empty() || calls.empty()) {
      calls.push_back(std::move(call));
    } else {
      calls.back().arguments += call.arguments;
    }
  }
}

void append(ReplyPart& whole, ReplyPart part) {
  whole.output.reasoning += part.output.reasoning;
  whole.output.content += part.output.content;
  append(whole.output.tool_calls, std::move(part.output.tool_calls));
  whole.ids.insert(whole.ids.end(), part.ids.begin(), part.ids.end());
  std::move(part.logprobs.begin(), part.logprobs.end(), std::back_inserter(whole.logprobs));
  std::move(part.prompt_logprobs.begin(), part.prompt_logprobs.end(), std::back_inserter(whole.prompt_logprobs));
  whole.tokens = part.tokens;
  whole.reasoning_tokens += part.reasoning_tokens;
  if (part.end) whole.end = part.end;
}

// A comment, which clients skip; people who look at the stream see what it waits for.
void append_keep_alive(std::string& out, const std::optional<QueuePlace>& queued) {
  if (!queued) {
    out += kSseKeepAlive;
    return;
  }
  out += fmt::format(": queued, {} before this one", queued->position);
  if (queued->wait.count() > 0) out += fmt::format(", about {} s", (queued->wait.count() + 999) / 1000);
  out += "\n\n";
}

}  // namespace

Api::Api(GenerationContext& context, ModelCardClient& cards, Gatekeeper& gatekeeper, GatewayMetrics& metrics,
         mesh::Tracer& tracer, const GatewaySettings& settings, std::string gateway_id)
    : context_(context),
      cards_(cards),
      gatekeeper_(gatekeeper),
      metrics_(metrics),
      tracer_(tracer),
      settings_(settings),
      limits_(settings.request_limits()),
      gateway_id_(std::move(gateway_id)) {}

const std::vector<Api::Route>& Api::route_table() {
  static const std::vector<Route> routes = {
      {"POST", "/v1/chat/completions", &Api::chat, response_of},
      {"POST", "/v1/completions", &Api::complete, response_of},
      {"POST", "/v1/responses", &Api::respond, response_of},
      {"POST", "/v1/messages", &Api::message, messages_response_of},
      {"POST", "/v1/messages/count_tokens", &Api::count_tokens, messages_response_of},
      {"GET", "/v1/models", &Api::list_models, response_of},
      {"GET", "/v1/models/*", &Api::describe_model, response_of},
      {"POST", "/tokenize", &Api::tokenize, response_of},
      {"POST", "/detokenize", &Api::detokenize, response_of},
      {"GET", "/version", &Api::version, response_of, true},
      {"GET", "/openapi.json", &Api::describe_api, response_of, true},
      {"GET", "/docs", &Api::show_docs, response_of, true},
  };
  return routes;
}

std::vector<std::pair<std::string, std::string>> Api::routes() {
  std::vector<std::pair<std::string, std::string>> routes;
  for (const Route& route : route_table()) routes.emplace_back(route.method, route.path);
  return routes;
}

void Api::add_routes(mesh::HttpServer& http) {
  for (const Route& route : route_table()) {
    http.route(route.method, route.path, [this, &route](HttpExchange& exchange) { return answer(exchange, route); });
  }
}

asio::awaitable<void> Api::answer(HttpExchange& exchange, const Route& route) {
  Access access{.id = make_request_id(exchange.request().header("x-request-id")),
                .path = route.path,
                .arrived = mesh::steady_now()};
  if (!route.is_public) {
    access.span = tracer_.begin_trace(fmt::format("{} {}", route.method, route.path), mesh::SpanKind::kServer,
                                      exchange.request().header("traceparent"));
  }
  std::optional<Failure> failure;
  try {
    if (!route.is_public) access.caller = gatekeeper_.identify(exchange.request());
    co_await (this->*route.endpoint)(exchange, access);
  } catch (const mesh::ClientGone&) {
    access.client_gone = true;
  } catch (...) {
    failure = current_failure(access);
  }
  if (failure) note(*failure, access);
  // A stream tells its failures itself; one that could not breaks off.
  if (failure && !exchange.started()) {
    access.status = failure->status;
    try {
      HttpResponse response = with_id(route.failure(*failure), access);
      co_await exchange.send(std::move(response));
    } catch (const mesh::ClientGone&) {
      access.client_gone = true;
    }
  }
  if (access.client_gone) access.status = kStatusClientGone;
  if (access.placed && access.admitted) access.admitted->set_used(access.prompt_tokens + access.completion_tokens);
  record(access, exchange.request());
}

void Api::record(Access& access, const mesh::HttpRequest& request) {
  const double ms = std::chrono::duration<double, std::milli>(mesh::steady_now() - access.arrived).count();
  metrics_.count_request(access.path, access.model, access.status);
  if (!access.model.empty()) {
    metrics_.observe_request(
        access.model, access.status, ms / 1000,
        access.placed ? std::optional(RequestTokens{access.prompt_tokens, access.completion_tokens}) : std::nullopt);
  }
  describe(access, request);
  if (access.client_gone) {
    metrics_.count_client_gone();
  } else if (!access.reason.empty()) {
    access.placed ? metrics_.count_interruption(access.reason) : metrics_.count_rejection(access.reason);
  }
  mesh::log::info("request", {{"request_id", access.id.mesh},
                              {"method", request.method},
                              {"path", access.path},
                              {"status", access.status},
                              {"reason", access.reason},
                              {"detail", access.detail},
                              {"model", access.model},
                              {"key_id", access.caller.key_id()},
                              {"tenant", access.caller.tenant()},
                              {"prompt_tokens", access.prompt_tokens},
                              {"completion_tokens", access.completion_tokens},
                              {"took_ms", ms},
                              {"remote", request.remote}});
}

void Api::check_capacity(size_t prompts) const {
  if (draining_) {
    throw RequestFailed({503, "shutting_down", "this gateway is shutting down", "", kRetryAfter});
  }
  if (context_.streams.size() + prompts > static_cast<size_t>(settings_.streams_max)) {
    throw RequestFailed(
        {503, "too_many_streams",
         fmt::format("this gateway serves {} requests at once and has no room for another", settings_.streams_max), "",
         kRetryAfter});
  }
}

void Api::admit(Access& access, Job& job) {
  for (v1::GenerateRequest& request : job.requests) gatekeeper_.label(access.caller, request);
  try {
    access.admitted = gatekeeper_.admit(access.caller, job.requests, job.limits_output);
  } catch (const RequestFailed&) {
    access.headers = gatekeeper_.headers(access.caller);
    throw;
  }
  access.headers = gatekeeper_.headers(access.caller);
}

asio::awaitable<void> Api::generate(HttpExchange& exchange, Access& access, Job job) {
  if (job.constraint) co_await constraints_.check(*std::move(job.constraint), job.model);
  check_capacity(job.requests.size());
  for (size_t i = 0; i < job.requests.size(); ++i) {
    v1::GenerateRequest& request = job.requests[i];
    request.set_request_id(i == 0 ? access.id.mesh : fmt::format("{}.{}", access.id.mesh, i));
    request.set_gateway_id(gateway_id_);
    apply_headers(exchange.request(), job.has_priority, request);
    if (access.span.recorded()) request.set_traceparent(access.span.traceparent());
    access.prompt_tokens += static_cast<uint32_t>(request.prompt_ids_size());
  }
  admit(access, job);
  const auto wakeup = std::make_shared<Wakeup>(context_.executor);
  std::deque<Generation> generations;
  for (v1::GenerateRequest& request : job.requests) generations.emplace_back(context_, std::move(request), wakeup);
  metrics_.streams_in_flight().Set(static_cast<double>(context_.streams.size()));
  co_await place(exchange, access, generations, *wakeup, job.stream);
  ReplyStream reply(generations, wakeup, metrics_.model(access.model), job.model, job.output, access.arrived);
  if (job.stream) {
    co_await send_stream(exchange, access, reply, *job.format);
  } else {
    co_await send_whole(exchange, access, reply, *job.format);
  }
}

asio::awaitable<void> Api::place(HttpExchange& exchange, Access& access, std::deque<Generation>& generations,
                                 Wakeup& wakeup, bool stream) {
  std::vector<std::weak_ptr<TokenInbox>> inboxes;
  for (const Generation& generation : generations) inboxes.push_back(generation.inbox());
  exchange.on_client_gone([inboxes = std::move(inboxes)] {
    for (const std::weak_ptr<TokenInbox>& waiting : inboxes) {
      if (const std::shared_ptr<TokenInbox> inbox = waiting.lock()) inbox->leave();
    }
  });
  if (exchange.client_gone()) throw mesh::ClientGone{};
  for (Generation& generation : generations) generation.submit();
  const mesh::TimePoint begin_at =
      stream ? mesh::steady_now() + std::chrono::milliseconds(settings_.keep_alive_ms) : mesh::TimePoint::max();
  for (;;) {
    bool all_placed = true;
    bool all_held = true;  // by a head or in a queue
    for (const Generation& generation : generations) {
      const bool placed = generation.placed();
      if (placed) note_placed(access);
      all_placed = all_placed && placed;
      all_held = all_held && (placed || generation.queue_place());
    }
    if (all_placed || (all_held && mesh::steady_now() >= begin_at)) co_return;
    co_await wakeup.wait(mesh::steady_now() < begin_at ? begin_at : mesh::TimePoint::max());
  }
}

asio::awaitable<void> Api::send_stream(HttpExchange& exchange, Access& access, ReplyStream& reply,
                                       ReplyFormat& format) {
  HttpResponse head;
  head.content_type = "text/event-stream; charset=utf-8";
  head.headers.emplace_back("Cache-Control", "no-cache");
  head = with_id(std::move(head), access);
  co_await exchange.start_stream(std::move(head));
  std::optional<Failure> failure;
  try {
    co_await write_parts(exchange, access, reply, format);
  } catch (const mesh::ClientGone&) {
    throw;
  } catch (...) {
    failure = current_failure(access);
  }
  if (failure) {
    note(*failure, access);
    std::string out;
    format.fail(out, *failure);
    co_await exchange.write(std::move(out));
  }
  co_await exchange.end_stream();
}

asio::awaitable<void> Api::write_parts(HttpExchange& exchange, Access& access, ReplyStream& reply,
                                       ReplyFormat& format) {
  const std::chrono::milliseconds keep_alive(settings_.keep_alive_ms);
  std::string out;
  format.begin(out);
  while (!reply.finished()) {
    if (!out.empty()) co_await exchange.write(std::exchange(out, {}));
    const std::optional<ReplyPart> part = co_await reply.next(mesh::steady_now() + keep_alive);
    note_progress(reply, access);
    if (part) {
      note_placed(access);
      format.add(out, *part);
    } else {
      append_keep_alive(out, reply.queue_place());
    }
  }
  format.finish(out, reply.usage());
  co_await exchange.write(std::move(out));
}

asio::awaitable<void> Api::send_whole(HttpExchange& exchange, Access& access, ReplyStream& reply, ReplyFormat& format) {
  std::vector<ReplyPart> choices(reply.choices());
  for (uint32_t i = 0; i < choices.size(); ++i) choices[i].choice = i;
  while (!reply.finished()) {
    std::optional<ReplyPart> part = co_await reply.next(mesh::TimePoint::max());
    note_progress(reply, access);
    if (part) append(choices[part->choice], *std::move(part));
  }
  co_await send_json(exchange, access, format.whole(choices, reply.usage()));
}

asio::awaitable<void> Api::send_json(HttpExchange& exchange, const Access& access, std::string body) {
  HttpResponse response;
  response.body = std::move(body);
  return send(exchange, access, std::move(response));
}

asio::awaitable<void> Api::send(HttpExchange& exchange, const Access& access, HttpResponse response) {
  response = with_id(std::move(response), access);
  co_await exchange.send(std::move(response));
}

}  // namespace bellwether::gateway
