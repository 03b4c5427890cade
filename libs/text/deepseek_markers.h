// The markers of DeepSeek's chat format. The bars are U+FF5C and the low lines U+2581, not ASCII.
#pragma once

#include <string_view>

namespace bellwether::text::deepseek {

inline constexpr std::string_view kBeginOfSentence = "<｜begin▁of▁sentence｜>";
inline constexpr std::string_view kEndOfSentence = "<｜end▁of▁sentence｜>";
inline constexpr std::string_view kUser = "<｜User｜>";
inline constexpr std::string_view kAssistant = "<｜Assistant｜>";
inline constexpr std::string_view kThinkOpen = "<think>";
inline constexpr std::string_view kThinkClose = "</think>";
inline constexpr std::string_view kToolCallsBegin = "<｜tool▁calls▁begin｜>";
inline constexpr std::string_view kToolCallsEnd = "<｜tool▁calls▁end｜>";
inline constexpr std::string_view kToolCallBegin = "<｜tool▁call▁begin｜>";
inline constexpr std::string_view kToolCallEnd = "<｜tool▁call▁end｜>";
inline constexpr std::string_view kToolSep = "<｜tool▁sep｜>";
inline constexpr std::string_view kToolOutputsBegin = "<｜tool▁outputs▁begin｜>";
inline constexpr std::string_view kToolOutputsEnd = "<｜tool▁outputs▁end｜>";
inline constexpr std::string_view kToolOutputBegin = "<｜tool▁output▁begin｜>";
inline constexpr std::string_view kToolOutputEnd = "<｜tool▁output▁end｜>";

// A call of V3 and R1 is kToolCallBegin, its type, kToolSep, its name, kArgumentsOpen, its arguments, kArgumentsClose,
// kToolCallEnd; one of V3.1 is kToolCallBegin, its name, kToolSep, its arguments, kToolCallEnd, and nothing stands
// between calls.
inline constexpr std::string_view kArgumentsOpen = "\n```json\n";
inline constexpr std::string_view kArgumentsClose = "\n```";
inline constexpr std::string_view kBetweenCalls = "\n";

}  // namespace bellwether::text::deepseek
