#include "api-gateway/api.h"

#include <fmt/format.h>

#include <exception>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "api-gateway/chat_reply.h"
#include "api-gateway/chat_request.h"
#include "api-gateway/completion_reply.h"
#include "api-gateway/completion_request.h"
#include "api-gateway/request_id.h"
#include "api-gateway/sse.h"
#include "mesh/log.h"

namespace bellwether::gateway {

namespace asio = boost::asio;
namespace json = boost::json;
using mesh::HttpExchange;
using mesh::HttpResponse;

struct Access {
  RequestId id;
  const char* path;
  mesh::TimePoint arrived;
  Caller caller = {};
  std::unique_ptr<Admitted> admitted = {};  // counts against the caller's limits
  mesh::HttpHeaders headers = {};           // of the reply, beside its id
  unsigned status = 200;
  std::string model = {};   // once it is known to be one of the mesh's
  std::string reason = {};  // of the failure
  bool client_gone = false;
  bool placed = false;
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
};

namespace {

constexpr std::chrono::milliseconds kRetryAfter{1000};
constexpr size_t kModelsNamedMax = 20;       // in an error
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

HttpResponse with_id(HttpResponse response, const Access& access) {
  response.headers.emplace_back("x-request-id", access.id.client);
  response.headers.insert(response.headers.end(), access.headers.begin(), access.headers.end());
  return response;
}

asio::awaitable<void> send_failure(HttpExchange& exchange, const Access& access, const Failure& failure) {
  if (!exchange.started()) {
    HttpResponse response = with_id(response_of(failure), access);
    co_await exchange.send(std::move(response));
    co_return;
  }
  std::string out;
  append_sse_event(out, mesh::http_error_body(failure.status, failure.message, failure.param));
  out += kSseDone;
  co_await exchange.write(std::move(out));
  co_await exchange.end_stream();
}

std::vector<ModelStatus> visible_to(const Caller& caller, std::vector<ModelStatus> models) {
  std::erase_if(models, [&](const ModelStatus& model) { return !caller.may_use(model.name); });
  return models;
}

std::string names_of(const std::vector<ModelStatus>& models) {
  std::string names;
  for (size_t i = 0; i < models.size() && i < kModelsNamedMax; ++i) {
    names += (i == 0 ? "" : ", ") + models[i].name;
  }
  return names.empty() ? "none at the moment" : names;
}

void append(ReplyPart& whole, ReplyPart part) {
  whole.output.reasoning += part.output.reasoning;
  whole.output.content += part.output.content;
  std::move(part.output.tool_calls.begin(), part.output.tool_calls.end(), std::back_inserter(whole.output.tool_calls));
  std::move(part.logprobs.begin(), part.logprobs.end(), std::back_inserter(whole.logprobs));
  std::move(part.prompt_logprobs.begin(), part.prompt_logprobs.end(), std::back_inserter(whole.prompt_logprobs));
  if (part.end) whole.end = part.end;
}

}  // namespace

Api::Api(GenerationContext& context, ModelCardClient& cards, Gatekeeper& gatekeeper, GatewayMetrics& metrics,
         const GatewaySettings& settings, std::string gateway_id)
    : context_(context),
      cards_(cards),
      gatekeeper_(gatekeeper),
      metrics_(metrics),
      settings_(settings),
      gateway_id_(std::move(gateway_id)) {}

void Api::add_routes(mesh::HttpServer& http) {
  const auto add = [&](const char* method, const char* path, Endpoint endpoint) {
    http.route(method, path,
               [this, path, endpoint](HttpExchange& exchange) { return answer(exchange, path, endpoint); });
  };
  add("GET", "/v1/models", &Api::list_models);
  add("POST", "/v1/chat/completions", &Api::chat);
  add("POST", "/v1/completions", &Api::complete);
}

asio::awaitable<void> Api::answer(HttpExchange& exchange, const char* path, Endpoint endpoint) {
  Access access{
      .id = make_request_id(exchange.request().header("x-request-id")), .path = path, .arrived = mesh::steady_now()};
  std::optional<Failure> failure;
  try {
    access.caller = gatekeeper_.identify(exchange.request());
    co_await (this->*endpoint)(exchange, access);
  } catch (const mesh::ClientGone&) {
    access.client_gone = true;
  } catch (...) {
    failure = current_failure(access);
  }
  if (failure) {
    access.reason = failure->reason;
    if (!exchange.started()) access.status = failure->status;
    try {
      co_await send_failure(exchange, access, *failure);
    } catch (const mesh::ClientGone&) {
      access.client_gone = true;
    }
  }
  if (access.client_gone) access.status = kStatusClientGone;
  if (access.placed && access.admitted) access.admitted->set_used(access.prompt_tokens + access.completion_tokens);
  record(access, exchange.request());
}

void Api::record(const Access& access, const mesh::HttpRequest& request) {
  const double ms = std::chrono::duration<double, std::milli>(mesh::steady_now() - access.arrived).count();
  metrics_.count_request(access.path, access.model, access.status);
  if (!access.model.empty()) metrics_.model(access.model).request_time.Observe(ms / 1000);
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
                              {"model", access.model},
                              {"key_id", access.caller.key_id()},
                              {"tenant", access.caller.tenant()},
                              {"prompt_tokens", access.prompt_tokens},
                              {"completion_tokens", access.completion_tokens},
                              {"took_ms", ms},
                              {"remote", request.remote}});
}

asio::awaitable<void> Api::list_models(HttpExchange& exchange, Access& access) {
  json::array models;
  for (const ModelStatus& status : visible_to(access.caller, context_.directory.list())) {
    models.push_back(json::object{{"id", status.name},
                                  {"object", "model"},
                                  {"created", status.since_unix_ms / 1000},
                                  {"owned_by", "bellwether"},
                                  {"root", status.name},
                                  {"parent", nullptr},
                                  {"max_model_len", status.context_tokens_max}});
  }
  HttpResponse response;
  response.body = json::serialize(json::object{{"object", "list"}, {"data", std::move(models)}});
  response = with_id(std::move(response), access);
  co_await exchange.send(std::move(response));
}

asio::awaitable<void> Api::chat(HttpExchange& exchange, Access& access) {
  check_capacity();
  ChatRequest chat = parse_chat_request(exchange.request().body, static_cast<size_t>(settings_.messages_max));
  PromptLimits limits;
  Job job;
  job.model = co_await find_model(chat.parameters.model, limits, access);
  if (job.model->chat_format == nullptr) {
    throw RequestFailed({400, "bad_request", "this model has no chat format; use /v1/completions", "model"});
  }
  const text::Conversation& conversation = chat.conversation;
  const std::vector<text::TokenId> prompt_ids =
      encode_prompt(*job.model, job.model->chat_format->render(conversation), limits, "messages");
  job.request = make_generate_request(chat.parameters, *job.model, prompt_ids, limits, random_(), "messages");
  job.options = {.splits_reasoning = true,
                 .starts_in_reasoning = job.model->chat_format->prompt_opens_reasoning(conversation),
                 .parses_tool_calls = !conversation.tools.empty()};
  job.format = std::make_unique<ChatReply>(
      ReplyHead{access.id.mesh, static_cast<int64_t>(mesh::unix_ms_now() / 1000), chat.parameters.model},
      chat.parameters.include_usage, chat.parameters.logprobs);
  job.parameters = std::move(chat.parameters);
  co_await generate(exchange, access, std::move(job));
}

asio::awaitable<void> Api::complete(HttpExchange& exchange, Access& access) {
  check_capacity();
  CompletionRequest completion =
      parse_completion_request(exchange.request().body, static_cast<size_t>(settings_.prompt_tokens_max));
  PromptLimits limits;
  Job job;
  job.model = co_await find_model(completion.parameters.model, limits, access);
  std::vector<text::TokenId> prompt_ids;
  if (const auto* text = std::get_if<std::string>(&completion.prompt)) {
    prompt_ids = encode_plain_prompt(*job.model, *text, limits, "prompt");
  } else {
    prompt_ids = std::get<std::vector<text::TokenId>>(std::move(completion.prompt));
  }
  job.request = make_generate_request(completion.parameters, *job.model, prompt_ids, limits, random_(), "prompt");
  job.format = std::make_unique<CompletionReply>(
      ReplyHead{access.id.mesh, static_cast<int64_t>(mesh::unix_ms_now() / 1000), completion.parameters.model},
      completion.parameters.include_usage, completion.parameters.logprobs,
      completion.parameters.prompt_logprobs.has_value());
  job.parameters = std::move(completion.parameters);
  co_await generate(exchange, access, std::move(job));
}

asio::awaitable<std::shared_ptr<const ServedModel>> Api::find_model(const std::string& name, PromptLimits& limits,
                                                                    Access& access) {
  gatekeeper_.require_model(access.caller, name);
  const ModelDirectory& directory = context_.directory;
  const std::optional<ModelStatus> status = directory.find(name);
  if (!status && directory.empty()) {
    throw RequestFailed({503, "no_replica", "no model has been announced in this mesh yet", "", kRetryAfter});
  }
  if (!status && !directory.knows(name)) {
    throw RequestFailed({404, "unknown_model",
                         fmt::format("the model `{}` does not exist; available: {}", name,
                                     names_of(visible_to(access.caller, directory.list()))),
                         "model"});
  }
  access.model = name;
  if (!status) {
    throw RequestFailed(
        {503, "no_replica", fmt::format("no replica of the model `{}` is ready at the moment", name), "", kRetryAfter});
  }
  std::shared_ptr<const ServedModel> model = co_await cards_.get(name, status->card_digest);
  limits.context_tokens_max = status->context_tokens_max == 0 ? model->context_tokens_max : status->context_tokens_max;
  limits.prompt_tokens_max = static_cast<uint32_t>(settings_.prompt_tokens_max);
  co_return model;
}

void Api::check_capacity() const {
  if (draining_) {
    throw RequestFailed({503, "shutting_down", "this gateway is shutting down", "", kRetryAfter});
  }
  if (context_.streams.size() >= static_cast<size_t>(settings_.streams_max)) {
    throw RequestFailed(
        {503, "too_many_streams",
         fmt::format("this gateway serves {} requests at once and has no room for another", settings_.streams_max), "",
         kRetryAfter});
  }
}

void Api::admit(Access& access, Job& job) {
  gatekeeper_.label(access.caller, job.request);
  try {
    access.admitted = gatekeeper_.admit(access.caller, job.request, job.parameters.max_tokens);
  } catch (const RequestFailed&) {
    access.headers = gatekeeper_.headers(access.caller);
    throw;
  }
  access.headers = gatekeeper_.headers(access.caller);
}

asio::awaitable<void> Api::generate(HttpExchange& exchange, Access& access, Job job) {
  check_capacity();
  job.request.set_request_id(access.id.mesh);
  job.request.set_gateway_id(gateway_id_);
  access.prompt_tokens = static_cast<uint32_t>(job.request.prompt_ids_size());
  admit(access, job);
  job.options.stop = std::move(job.parameters.stop);
  job.options.stop_ids.assign(job.request.stop_ids().begin(), job.request.stop_ids().end());

  Generation generation(context_, std::move(job.request));
  metrics_.streams_in_flight().Set(static_cast<double>(context_.streams.size()));
  exchange.on_client_gone([waiting = generation.inbox()] {
    if (const std::shared_ptr<TokenInbox> inbox = waiting.lock()) inbox->leave();
  });
  if (exchange.client_gone()) throw mesh::ClientGone{};
  co_await generation.place();
  access.placed = true;
  ReplyStream reply(generation, metrics_.model(access.model), job.model, job.options, access.arrived);
  if (job.parameters.stream) {
    co_await send_stream(exchange, access, reply, *job.format, job.parameters.include_usage);
  } else {
    co_await send_whole(exchange, access, reply, *job.format);
  }
}

asio::awaitable<void> Api::send_stream(HttpExchange& exchange, Access& access, ReplyStream& reply, ReplyFormat& format,
                                       bool include_usage) {
  const std::chrono::milliseconds keep_alive(settings_.keep_alive_ms);
  HttpResponse head;
  head.content_type = "text/event-stream; charset=utf-8";
  head.headers.emplace_back("Cache-Control", "no-cache");
  head = with_id(std::move(head), access);
  co_await exchange.start_stream(std::move(head));
  std::string out;
  for (uint32_t choice = 0; choice < reply.choices(); ++choice) {
    if (const std::string first = format.first_chunk(choice); !first.empty()) append_sse_event(out, first);
  }
  while (!reply.finished()) {
    if (!out.empty()) co_await exchange.write(std::exchange(out, {}));
    const uint32_t tokens_before = reply.tokens();
    const ReplyPart part = co_await reply.next(mesh::steady_now() + keep_alive);
    access.completion_tokens = reply.tokens();
    if (!part.output.empty() || !part.logprobs.empty()) append_sse_event(out, format.chunk(part));
    if (part.end) append_sse_event(out, format.last_chunk(part.choice, *part.end));
    if (reply.tokens() == tokens_before && !part.end) out += kSseKeepAlive;
  }
  if (include_usage) append_sse_event(out, format.usage_chunk(reply.usage()));
  out += kSseDone;
  co_await exchange.write(std::move(out));
  co_await exchange.end_stream();
}

asio::awaitable<void> Api::send_whole(HttpExchange& exchange, Access& access, ReplyStream& reply, ReplyFormat& format) {
  std::vector<ReplyPart> choices(reply.choices());
  for (uint32_t i = 0; i < choices.size(); ++i) choices[i].choice = i;
  while (!reply.finished()) {
    ReplyPart part = co_await reply.next(mesh::TimePoint::max());
    access.completion_tokens = reply.tokens();
    append(choices[part.choice], std::move(part));
  }
  HttpResponse response;
  response.body = format.whole(choices, reply.usage());
  response = with_id(std::move(response), access);
  co_await exchange.send(std::move(response));
}

}  // namespace bellwether::gateway
