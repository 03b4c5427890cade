#include "api-gateway/output_text.h"

#include "mesh/ids.h"

namespace bellwether::gateway {

OutputText::OutputText(std::shared_ptr<const ServedModel> model, OutputOptions options)
    : model_(std::move(model)),
      stop_ids_(options.stop_ids.begin(), options.stop_ids.end()),
      detokenizer_(model_->tokenizer,
                   options.parses_tool_calls ? model_->tool_marker_ids : std::vector<text::TokenId>{}),
      stop_(std::move(options.stop)) {
  if (options.splits_reasoning) reasoning_.emplace(options.starts_in_reasoning);
  if (options.parses_tool_calls) tool_calls_.emplace();
}

OutputDelta OutputText::push(const TokenPiece& piece) {
  OutputDelta delta;
  if (finished_) return delta;
  for (size_t i = 0; i < piece.ids.size() && !stop_.stopped(); ++i) {
    const text::TokenId id = piece.ids[i];
    ++tokens_;
    const bool ends_text = piece.finish_reason == v1::FINISH_REASON_STOP && i + 1 == piece.ids.size() &&
                           stop_ids_.contains(static_cast<uint32_t>(id));
    if (!ends_text) add(delta, stop_.push(detokenizer_.push(id)));
  }
  if (piece.finished() || stop_.stopped()) finish(delta);
  return delta;
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
  delta.content += piece.content;
  for (text::ToolCall& call : piece.tool_calls) {
    call.id = mesh::random_id("call", 24);
    delta.tool_calls.push_back(std::move(call));
    called_tools_ = true;
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

}  // namespace bellwether::gateway
