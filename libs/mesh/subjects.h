// The bus subjects, all in one place. See the table in docs/structure.md.
#pragma once

#include <string>
#include <string_view>

namespace bellwether::mesh::subjects {

// A model name or id as one subject token: every byte outside [A-Za-z0-9_-] becomes "=XX" in hexadecimal, so that
// "deepseek-ai/DeepSeek-R1" and "v3.1" are one token each and no name can widen a subscription.
[[nodiscard]] std::string token(std::string_view name);

[[nodiscard]] std::string request(std::string_view model);              // GenerateRequest -> GenerateReply
[[nodiscard]] std::string replica_work(std::string_view replica);       // GenerateRequest -> GenerateReply
[[nodiscard]] std::string replica_cancel(std::string_view replica);     // CancelRequest
[[nodiscard]] std::string replica_resend(std::string_view replica);     // ResendRequest
[[nodiscard]] std::string replica_drain(std::string_view replica);      // DrainRequest -> DrainReply
[[nodiscard]] std::string replica_kv_dump(std::string_view replica);    // KvDumpRequest -> KvDumpChunk
[[nodiscard]] std::string replica_kv_events(std::string_view replica);  // KvEvents
[[nodiscard]] std::string replica_state(std::string_view replica);      // ReplicaState
[[nodiscard]] std::string gateway_tokens(std::string_view gateway);     // TokenBatch
[[nodiscard]] std::string scheduler_poll(std::string_view scheduler);   // QueuePoll -> GenerateReply
[[nodiscard]] std::string queue(std::string_view model);                // QueueState
[[nodiscard]] std::string scale(std::string_view model);                // ScaleDecision
[[nodiscard]] std::string card(std::string_view model);                 // CardRequest -> CardChunk

inline constexpr std::string_view kAllRequests = "bw.v1.request.*";
inline constexpr std::string_view kAllReplicaStates = "bw.v1.event.replica.*.state";
inline constexpr std::string_view kAllKvEvents = "bw.v1.event.replica.*.kv";
inline constexpr std::string_view kDispatch = "bw.v1.event.dispatch";
inline constexpr std::string_view kKeyUses = "bw.v1.event.limits";
inline constexpr std::string_view kKeyLevels = "bw.v1.limits.levels";
inline constexpr std::string_view kAllQueues = "bw.v1.event.queue.*";
inline constexpr std::string_view kAllScaleDecisions = "bw.v1.event.scale.*";

inline constexpr std::string_view kSchedulerQueue = "schedulers";  // queue group of request.*
inline constexpr std::string_view kKeyLevelsQueue = "gateways";    // queue group of limits.levels
inline constexpr std::string_view kCardQueue = "cards";            // queue group of model.*.card

}  // namespace bellwether::mesh::subjects
