// What a scheduler answers.
#pragma once

#include <cstdint>
#include <string>

#include "bellwether/v1/generate.pb.h"
#include "mesh/trace.h"

namespace bellwether::scheduler {

[[nodiscard]] v1::GenerateReply refused(v1::RefusalCode code, std::string message, uint32_t retry_after_ms);

// In a word, for metrics.
[[nodiscard]] const char* outcome_name(const v1::GenerateReply& reply);

// What the span of a request says of the answer. In OpenTelemetry's names, where it has them.
void describe(mesh::Span& span, const v1::GenerateRequest& request, const v1::GenerateReply& reply);

}  // namespace bellwether::scheduler
