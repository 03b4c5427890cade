#include <fmt/format.h>

#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "api-gateway/api.h"
#include "api-gateway/chat_reply.h"
#include "api-gateway/chat_request.h"
#include "api-gateway/completion_reply.h"
#include "api-gateway/completion_request.h"
#include "api-gateway/docs/api_docs.h"
#include "api-gateway/messages_reply.h"
#include "api-gateway/messages_request.h"
#include "api-gateway/responses_reply.h"
#include "api-gateway/responses_request.h"
#include "api-gateway/tokenize_request.h"

namespace bellwether::gateway {

namespace asio = boost::asio;
namespace json = boost::json;
using mesh::HttpExchange;
using mesh::HttpResponse;

namespace {

constexpr std::chrono::milliseconds kRetryAfter{1000};
constexpr size_t kModelsNamedMax = 20;  // in an error

std::string names_of(const std::vector<ModelStatus>& models) {
  std::string names;
  for (size_t i = 0; i < models.size() && i < kModelsNamedMax; ++i) {
    names += (i == 0 ? "" : ", ") + models[i].name;
  }
  return names.empty() ? "none at the moment" : names;
}

json::object model_json(const ModelStatus& status) {
  return {{"id", status.name},
          {"object", "model"},
          {"created", status.since_unix_ms / 1000},
          {"owned_by", "bellwether"},
          {"root", status.name},
          {"parent", nullptr},
          {"max_model_len", status.context_tokens_max}};
}

}  // namespace

asio::awaitable<void> Api::chat(HttpExchange& exchange, Access& access) {
  check_capacity(1);
  const ChatRequest chat = parse_chat_request(exchange.request().body, limits_);
  const JobContext context = co_await job_context(chat.parameters.model, access);
  Job job = chat_job(chat, context, "messages");
  job.format = std::make_unique<ChatReply>(reply_head(access), std::move(job.reply));
  co_await generate(exchange, access, std::move(job));
}

asio::awaitable<void> Api::complete(HttpExchange& exchange, Access& access) {
  check_capacity(1);
  const CompletionRequest completion = parse_completion_request(exchange.request().body, limits_);
  const JobContext context = co_await job_context(completion.parameters.model, access);
  Job job = completion_job(completion, context);
  job.format = std::make_unique<CompletionReply>(reply_head(access), std::move(job.reply));
  co_await generate(exchange, access, std::move(job));
}

asio::awaitable<void> Api::respond(HttpExchange& exchange, Access& access) {
  check_capacity(1);
  ResponsesRequest request = parse_responses_request(exchange.request().body, limits_);
  const JobContext context = co_await job_context(request.chat.parameters.model, access);
  Job job = chat_job(request.chat, context, "input");
  job.format = std::make_unique<ResponsesReply>(reply_head(access), std::move(request.echo), job.reply.logprobs);
  co_await generate(exchange, access, std::move(job));
}

asio::awaitable<void> Api::message(HttpExchange& exchange, Access& access) {
  check_capacity(1);
  const ChatRequest chat = parse_messages_request(exchange.request().body, limits_);
  const JobContext context = co_await job_context(chat.parameters.model, access);
  Job job = chat_job(chat, context, "messages");
  job.format =
      std::make_unique<MessagesReply>(reply_head(access), static_cast<uint32_t>(job.requests[0].prompt_ids_size()));
  co_await generate(exchange, access, std::move(job));
}

asio::awaitable<void> Api::count_tokens(HttpExchange& exchange, Access& access) {
  const ChatRequest chat = parse_messages_request(exchange.request().body, limits_, true);
  PromptLimits limits;
  const auto model = co_await find_model(chat.parameters.model, limits, access);
  bool opens_reasoning = false;
  const auto ids = encode_conversation(chat, *model, limits, "messages", opens_reasoning);
  co_await send_json(exchange, access, json::serialize(json::object{{"input_tokens", ids.size()}}));
}

asio::awaitable<void> Api::list_models(HttpExchange& exchange, Access& access) {
  json::array models;
  for (const ModelStatus& status : models_of(access)) models.push_back(model_json(status));
  co_await send_json(exchange, access, json::serialize(json::object{{"object", "list"}, {"data", std::move(models)}}));
}

asio::awaitable<void> Api::describe_model(HttpExchange& exchange, Access& access) {
  const std::string name = exchange.request().path.substr(std::string_view("/v1/models/").size());
  gatekeeper_.require_model(access.caller, name);
  const std::optional<ModelStatus> status = context_.directory.find(name);
  if (!status) throw RequestFailed(missing_model(name, access));
  access.model = name;
  co_await send_json(exchange, access, json::serialize(model_json(*status)));
}

asio::awaitable<void> Api::tokenize(HttpExchange& exchange, Access& access) {
  const TokenizeRequest request = parse_tokenize_request(exchange.request().body, limits_);
  PromptLimits limits;
  const auto model = co_await find_model(model_or_only(request.chat.parameters.model, access), limits, access);
  const uint32_t context_tokens = limits.context_tokens_max;
  limits.context_tokens_max = std::numeric_limits<uint32_t>::max();  // nothing is generated
  std::vector<text::TokenId> ids;
  if (request.prompt) {
    ids = encode_prompt(*model, *request.prompt, limits, {.adds_bos = request.adds_special_tokens}, "prompt");
  } else {
    bool opens_reasoning = false;
    ids = encode_conversation(request.chat, *model, limits, "messages", opens_reasoning);
  }
  co_await send_json(exchange, access, tokenize_reply(*model, ids, context_tokens, request.returns_texts));
}

asio::awaitable<void> Api::detokenize(HttpExchange& exchange, Access& access) {
  const DetokenizeRequest request = parse_detokenize_request(exchange.request().body, limits_);
  PromptLimits limits;
  const auto model = co_await find_model(model_or_only(request.model, access), limits, access);
  co_await send_json(exchange, access, detokenize_reply(*model, request.ids));
}

asio::awaitable<void> Api::version(HttpExchange& exchange, Access& access) {
  co_await send_json(exchange, access, json::serialize(json::object{{"version", BELLWETHER_VERSION}}));
}

asio::awaitable<void> Api::describe_api(HttpExchange& exchange, Access& access) {
  return send(exchange, access, openapi_response());
}

asio::awaitable<void> Api::show_docs(HttpExchange& exchange, Access& access) {
  return send(exchange, access, docs_response());
}

asio::awaitable<std::shared_ptr<const ServedModel>> Api::find_model(const std::string& name, PromptLimits& limits,
                                                                    Access& access) {
  gatekeeper_.require_model(access.caller, name);
  const ModelDirectory& directory = context_.directory;
  std::optional<ModelStatus> status = directory.find(name);
  if (status || directory.knows(name)) access.model = name;
  // Without a head the request goes to a scheduler all the same: it knows whether one is to come.
  if (!status) status = directory.last_known(name);
  if (status && status->heads_ready == 0 && !cards_.holds(status->card_digest)) status.reset();
  if (!status) throw RequestFailed(missing_model(name, access));
  std::shared_ptr<const ServedModel> model = co_await cards_.get(name, status->card_digest);
  limits.context_tokens_max = status->context_tokens_max == 0 ? model->context_tokens_max : status->context_tokens_max;
  limits.prompt_tokens_max = static_cast<uint32_t>(settings_.prompt_tokens_max);
  co_return model;
}

// Why a model that is not served cannot be had.
Failure Api::missing_model(const std::string& name, const Access& access) const {
  const ModelDirectory& directory = context_.directory;
  if (directory.empty()) {
    return {503, "no_replica", "no model has been announced in this mesh yet", "", kRetryAfter};
  }
  if (directory.knows(name)) {
    return {503, "no_replica", fmt::format("no replica of the model `{}` is ready at the moment", name), "",
            kRetryAfter};
  }
  return {404, "unknown_model",
          fmt::format("the model `{}` does not exist; available: {}", name, names_of(models_of(access))), "model"};
}

asio::awaitable<JobContext> Api::job_context(const std::string& model, Access& access) {
  PromptLimits limits;
  std::shared_ptr<const ServedModel> served = co_await find_model(model, limits, access);
  co_return JobContext{std::move(served), limits, random_};
}

std::vector<ModelStatus> Api::models_of(const Access& access) const {
  std::vector<ModelStatus> models = context_.directory.list();
  std::erase_if(models, [&](const ModelStatus& model) { return !access.caller.may_use(model.name); });
  return models;
}

std::string Api::model_or_only(const std::string& named, const Access& access) const {
  if (!named.empty()) return named;
  const std::vector<ModelStatus> models = models_of(access);
  if (models.size() == 1) return models[0].name;
  if (models.empty()) throw RequestFailed({503, "no_replica", "no model is served at the moment", "", kRetryAfter});
  throw RequestFailed(
      {400, "bad_request", fmt::format("`model` is required where several are served: {}", names_of(models)), "model"});
}

ReplyHead Api::reply_head(const Access& access) const {
  return {access.id.mesh, static_cast<int64_t>(mesh::unix_ms_now() / 1000), access.model};
}

}  // namespace bellwether::gateway
