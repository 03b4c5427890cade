// What a step did to a request, in the words of the bus. Pure.
#pragma once

#include <string>

#include "bellwether/v1/generate.pb.h"
#include "engine/engine.h"
#include "worker/request_table.h"

namespace bellwether::worker {

// REQUIRES: request.output_tokens counts the output's ids already. Carries the usage when the output ends the request.
[[nodiscard]] v1::TokenEvent token_event(const LiveRequest& request, const engine::SequenceOutput& output);

// The last event of a request that ends before its time.
[[nodiscard]] v1::TokenEvent error_event(const LiveRequest& request, const std::string& message);

}  // namespace bellwether::worker
