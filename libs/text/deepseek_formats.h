// DeepSeek's chat formats.
#pragma once

#include <memory>
#include <vector>

#include "text/chat_format.h"

namespace bellwether::text {

// "deepseek-r1": of R1's published template, and of the demo model's where that goes beyond (tools, which R1's leaves
// out of the prompt). They agree on what one turn needs and differ in a conversation's past, where this follows R1's:
// - an assistant's message after tool outputs has no <｜Assistant｜> before it, as when the model wrote it; the demo
//   model's template puts one;
// - content beside tool calls is kept; the demo model's template drops it;
// - what follows the last </think> of earlier content is kept as it is; the demo model's strips line feeds from it.
// Tool outputs are joined by a line feed, as in the demo model's template and R1's first; a later revision of R1's
// joins them by nothing.
//
// "deepseek-r1-0528", "deepseek-v3-0324": as R1's, but <｜Assistant｜> follows every message of a user at once, and
// nothing opens the reasoning: R1-0528 writes <think> itself, and V3-0324 does not reason (and keeps </think> in
// earlier content). Their published templates leave tools out; the system text names each in the fence that calls are
// written in and shows a call.
//
// "deepseek-v3.1": <｜Assistant｜> is followed by </think>, or by <think> where the model shall reason
// (template_arguments {"thinking": true}). Tool calls are name and arguments only, and tool outputs have no markers
// around them all. Tools are described as the model card says, in words of our own where it instructs the model.
//
// Tool outputs are closed in each of the V3 formats whoever speaks next; the published ones forget it before a user.
[[nodiscard]] std::vector<std::shared_ptr<const ChatFormat>> make_deepseek_formats();

}  // namespace bellwether::text
