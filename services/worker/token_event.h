// What a step did to a choice, in the words of the bus. Pure.
#pragma once

#include <string>

#include "bellwether/v1/generate.pb.h"
#include "engine/engine.h"
#include "worker/request_table.h"

namespace bellwether::worker {

// Carries the usage when the output ends the choice. REQUIRES: choice.output_tokens counts the output's ids already,
// and choice.prompt_logprobs_given its prompt_logprobs.
[[nodiscard]] v1::TokenEvent token_event(const LiveRequest& request, const LiveChoice& choice,
                                         const engine::SequenceOutput& output);

// The last event of a choice that ends before its time: one that fails anywhere, and one that another replica can go
// on with.
[[nodiscard]] v1::TokenEvent error_event(const LiveRequest& request, const LiveChoice& choice,
                                         const std::string& message);
[[nodiscard]] v1::TokenEvent lost_event(const LiveRequest& request, const LiveChoice& choice,
                                        const std::string& message);

// The same of a choice that this head knows nothing of.
[[nodiscard]] v1::TokenEvent lost_event(const v1::ResendRequest& request, const v1::ResendRequest::From& from,
                                        const std::string& message);

}  // namespace bellwether::worker
