#include "api-gateway/settings.h"

namespace bellwether::gateway {

namespace {

void declare_access(mesh::Settings& settings, AccessSettings& access) {
  settings.add("api-keys-file", &access.api_keys_file,
               {.sentence = "YAML file of API keys, which clients then need (`bellwether key new` makes entries); read "
                            "again when it changes; empty for no keys"});
  settings.add("allow-anonymous", &access.allow_anonymous, {.sentence = "Serve other machines without API keys, too"});
  settings.add("tenant-isolation", &access.tenant_isolation,
               {.sentence = "With keys: tenants share no cached prompts, so that none can learn another's by timing"});
  settings.add("output-tokens-assumed", &access.output_tokens_assumed,
               {.sentence = "Output that a request without max_tokens reserves of its key's tokens per minute",
                .unit = "tokens",
                .min = 1,
                .max = 1 << 30});
}

}  // namespace

void GatewaySettings::declare(mesh::Settings& settings) {
  constexpr double kDayMs = 86'400'000;
  const auto add = [&](const char* name, int64_t* target, const char* sentence, const char* unit, double min,
                       double max) {
    settings.add(name, target, {.sentence = sentence, .unit = unit, .min = min, .max = max});
  };
  add("header-bytes-max", &header_bytes_max, "Largest header of a request", "bytes", 1024, 1 << 20);
  add("body-bytes-max", &body_bytes_max, "Largest body of a request", "bytes", 1024, 1 << 30);
  add("bodies-bytes-max", &bodies_bytes_max, "Bodies of all requests together; one more is answered 503", "bytes", 1024,
      1ULL << 40);
  add("connections-max", &connections_max, "Connections held at once; one more is answered 503", "", 1, 1 << 20);
  add("idle-ms-max", &idle_ms_max, "Longest wait for the next request of a connection", "ms", 1, kDayMs);
  add("request-ms-max", &request_ms_max, "Longest wait for a whole request, once it has begun", "ms", 1, kDayMs);
  add("write-ms-max", &write_ms_max, "Longest wait for a client to take one write", "ms", 1, kDayMs);
  add("messages-max", &messages_max, "Messages in one conversation", "", 1, 1 << 20);
  add("prompts-max", &prompts_max, "Prompts in one request for completions", "", 1, 1 << 16);
  add("choices-max", &choices_max, "Choices (n) of one prompt", "", 1, 128);
  add("prompt-tokens-max", &prompt_tokens_max, "Longest prompt, where the model's context allows more", "tokens", 1,
      1 << 30);
  add("streams-max", &streams_max, "Requests being generated at once; one more is answered 503", "", 1, 1 << 20);
  add("template-steps-max", &template_steps_max, "Steps that a model's chat template may take for one conversation", "",
      1000, 1e12);
  add("template-bytes-max", &template_bytes_max, "Longest prompt that a model's chat template may write", "bytes", 1024,
      1 << 30);
  add("card-ms-max", &card_ms_max, "Longest wait for a model's card", "ms", 1, kDayMs);
  add("placement-ms-max", &placement_ms_max, "Longest wait for a scheduler to place a request", "ms", 1, kDayMs);
  add("queue-ms-max", &queue_ms_max,
      "Longest wait for a replica with room, while all are full or loading; schedulers have a limit of their own", "ms",
      1, kDayMs);
  add("first-token-ms-max", &first_token_ms_max, "Longest wait for a request's first token", "ms", 1, kDayMs);
  add("token-gap-ms-max", &token_gap_ms_max, "Longest wait between two tokens", "ms", 1, kDayMs);
  add("lost-tokens-ms-max", &lost_tokens_ms_max,
      "Longest wait for a head to send lost tokens again, before another one takes over", "ms", 1, kDayMs);
  add("recovery-ms-max", &recovery_ms_max, "Longest wait for another head to take over a request whose head is lost",
      "ms", 1, kDayMs);
  add("recoveries-max", &recoveries_max, "Times that other heads take over one request", "", 0, 1000);
  declare_access(settings, access);
  add("keep-alive-ms", &keep_alive_ms, "Time without a token after which a stream carries a comment", "ms", 10, kDayMs);
}

mesh::HttpLimits GatewaySettings::http_limits() const {
  mesh::HttpLimits limits;
  limits.header_bytes_max = static_cast<uint64_t>(header_bytes_max);
  limits.body_bytes_max = static_cast<uint64_t>(body_bytes_max);
  limits.bodies_bytes_max = static_cast<uint64_t>(bodies_bytes_max);
  limits.connections_max = static_cast<int>(connections_max);
  limits.idle_time_max = std::chrono::milliseconds(idle_ms_max);
  limits.request_time_max = std::chrono::milliseconds(request_ms_max);
  limits.write_time_max = std::chrono::milliseconds(write_ms_max);
  return limits;
}

RequestLimits GatewaySettings::request_limits() const {
  return {.messages_max = static_cast<size_t>(messages_max),
          .prompts_max = static_cast<size_t>(prompts_max),
          .prompt_tokens_max = static_cast<size_t>(prompt_tokens_max),
          .choices_max = static_cast<uint32_t>(choices_max)};
}

text::jinja::Limits GatewaySettings::template_limits() const {
  return {.output_bytes_max = static_cast<size_t>(template_bytes_max),
          .steps_max = static_cast<uint64_t>(template_steps_max)};
}

}  // namespace bellwether::gateway
