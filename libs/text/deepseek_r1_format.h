// DeepSeek-R1's chat format.
#pragma once

#include "text/chat_format.h"

namespace bellwether::text {

// Of R1's published template, and of the demo model's where that goes beyond (tools, which R1's leaves out of the
// prompt). They agree on what one turn needs and differ in a conversation's past, where this follows R1's:
// - an assistant's message after tool outputs has no <｜Assistant｜> before it, as when the model wrote it; the demo
//   model's template puts one;
// - content beside tool calls is kept; the demo model's template drops it;
// - what follows the last </think> of earlier content is kept as it is; the demo model's strips line feeds from it.
// Tool outputs are joined by a line feed, as in the demo model's template and R1's first; a later revision of R1's
// joins them by nothing.
class DeepSeekR1Format final : public ChatFormat {
 public:
  [[nodiscard]] std::string_view name() const override { return "deepseek-r1"; }
  [[nodiscard]] std::string render(const Conversation& conversation) const override;
  [[nodiscard]] bool prompt_opens_reasoning(const Conversation& conversation) const override;
};

}  // namespace bellwether::text
