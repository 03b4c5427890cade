#include "api-gateway/output_text.h"

#include <algorithm>

#include "mesh/ids.h"

namespace bellwether::gateway {

OutputText::OutputText(std::shared_ptr<const ServedModel> model, const OutputOptions& options)
    : model_(std::move(model)),
      stop_ids_(options.stop_ids.begin(), options.stop_ids.end()),
      detokenizer_(model_->tokenizer,
                   options.parses_tool_calls ? model_->tool_marker_ids : std::vector<text::TokenId>{},
                   options.keeps_special_tokens),
      stop_(options.stop, options.keeps_stop),
      keeps_reasoning_(options.keeps_reasoning),
      one_tool_call_(options.one_tool_call),
      keeps_stop_(options.keeps_stop),
      is_silent_(options.is_silent),
      min_tokens_(options.min_tokens) {
  if (options.splits_reasoning) reasoning_.emplace(options.starts_in_reasoning);
  if (options.parses_tool_calls) tool_calls_.emplace();
}

OutputDelta OutputText::push(const TokenPiece& piece) {
  OutputDelta delta;
  if (finished_ || is_silent_) return delta;
  for (size_t i = 0; i < piece.ids.size() && !ended_early(); ++i) {
    const text::TokenId id = piece.ids[i];
    const auto stop_id = static_cast<uint32_t>(id);
    const bool ends_text =
        piece.finish_reason == v1::FINISH_REASON_STOP && i + 1 == piece.ids.size() && stop_ids_.contains(stop_id);
    if (ends_text && std::find(model_->eos_ids.begin(), model_->eos_ids.end(), stop_id) == model_->eos_ids.end()) {
      stop_id_ = stop_id;
    }
    ++tokens_;
    if (!ends_text || keeps_stop_) take(delta, id);
  }
  if (piece.finished() || ended_early()) finish(delta);
  if (!keeps_reasoning_) delta.reasoning.clear();
  return delta;
}

void OutputText::take(OutputDelta& delta, text::TokenId id) {
  const bool reasoned = reasoning_ && reasoning_->in_reasoning();
  std::string text = detokenizer_.push(id);
  add(delta, tokens_ > min_tokens_ ? stop_.push(text) : text);
  if (reasoned || (reasoning_ && reasoning_->in_reasoning())) ++reasoning_tokens_;
}

void OutputText::add(OutputDelta& delta, const std::string& text) {
  if (text.empty()) return;
  std::string answer;
  if (reasoning_) {
    text::SplitText split = reasoning_->push(text);
    delta.reasoning += split.reasoning;
    answer = std::move(split.content);
  } else {
    answer = text;
  }
  if (tool_calls_) {
    add_answer(delta, tool_calls_->push(answer));
  } else {
    delta.content += answer;
  }
}

void OutputText::add_answer(OutputDelta& delta, text::AnswerPiece piece) {
  if (one_tool_call_ && call_ended_) return;
  delta.content += piece.content;
  for (text::ToolCallDelta& call : piece.tool_calls) {
    const auto index = static_cast<uint32_t>(call.call);
    if (delta.tool_calls.empty() || delta.tool_calls.back().index != index)
      delta.tool_calls.push_back({.index = index});
    CallDelta& to = delta.tool_calls.back();
    if (!call.name.empty()) {
      to.id = mesh::random_id("call", 24);
      to.name = std::move(call.name);
      called_tools_ = true;
    }
    to.arguments += call.arguments;
    call_ended_ = call_ended_ || call.ends;
    if (one_tool_call_ && call_ended_) return;
  }
}

void OutputText::finish(OutputDelta& delta) {
  finished_ = true;
  if (!stop_.stopped()) {
    add(delta, stop_.push(detokenizer_.finish()));
    add(delta, stop_.finish());
  }
  std::string answer;
  if (reasoning_) {
    text::SplitText split = reasoning_->finish();
    delta.reasoning += split.reasoning;
    answer = std::move(split.content);
  }
  if (tool_calls_) {
    add_answer(delta, tool_calls_->push(answer));
    add_answer(delta, tool_calls_->finish());
  } else {
    delta.content += answer;
  }
}

StopReason OutputText::stop_reason() const {
  if (stop_.stopped()) return stop_.found();
  if (stop_id_) return *stop_id_;
  return {};
}

}  // namespace bellwether::gateway
