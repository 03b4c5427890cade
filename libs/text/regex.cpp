#include "text/regex.h"

#include <fmt/format.h>

#include <cstdint>
#include <utility>

#include "text/onig_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace bellwether::text {
namespace {

constexpr uint32_t kMatchLimit = 100'000'000;  // backtracks of one match; a run of 4 MB needs 4 million
// Memory to backtrack with, taken as it is needed. A nested repetition over a run of 4 MB has to be matched.
constexpr size_t kBacktrackBytesMax = size_t{256} << 20;
constexpr size_t kJitStackStart = size_t{64} << 10;

std::string message_of(int error) {
  std::string message(256, '\0');
  const int length = pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message.data()), message.size());
  message.resize(length < 0 ? 0 : static_cast<size_t>(length));
  return message;
}

PCRE2_SPTR units_of(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

template <typename T>
T* require(T* made) {
  if (made == nullptr) throw std::bad_alloc();
  return made;
}

}  // namespace

void PcreDeleter::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}
void PcreDeleter::operator()(pcre2_real_match_context_8* context) const {
  pcre2_match_context_free(context);
}
void PcreDeleter::operator()(pcre2_real_match_data_8* data) const {
  pcre2_match_data_free(data);
}
void PcreDeleter::operator()(pcre2_real_jit_stack_8* stack) const {
  pcre2_jit_stack_free(stack);
}

Regex Regex::from_pattern(std::string_view pattern) {
  return Regex(pcre_from_onig(pattern), false);
}
Regex Regex::from_literal(std::string_view literal) {
  return Regex(literal, true);
}

Regex::Regex(std::string_view pcre_pattern, bool literal) {
  int error = 0;
  PCRE2_SIZE error_at = 0;
  const uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C);
  code_.reset(pcre2_compile(units_of(pcre_pattern), pcre_pattern.size(), options, &error, &error_at, nullptr));
  if (!code_) {
    throw TextError(fmt::format("the pattern {:?} is wrong at byte {}: {}", pcre_pattern, error_at, message_of(error)));
  }
  uint32_t may_be_empty = 0;
  pcre2_pattern_info(code_.get(), PCRE2_INFO_MATCHEMPTY, &may_be_empty);
  if (may_be_empty != 0) throw TextError(fmt::format("the pattern {:?} may match nothing", pcre_pattern));
  // Without machine code (no support for the processor, or memory may not be made executable) matching is slower.
  jit_ = pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE) == 0;
}

RegexMatcher::RegexMatcher(const Regex& regex)
    : regex_(regex),
      context_(require(pcre2_match_context_create(nullptr))),
      data_(require(pcre2_match_data_create(1, nullptr))) {
  pcre2_set_match_limit(context_.get(), kMatchLimit);
  pcre2_set_heap_limit(context_.get(), kBacktrackBytesMax / 1024);
}

int RegexMatcher::match(std::string_view text, size_t from) {
  // PCRE2 would check the whole text on every call, which makes the work quadratic.
  if (!regex_.jit_) {
    return pcre2_match(regex_.code_.get(), units_of(text), text.size(), from, PCRE2_NO_UTF_CHECK, data_.get(),
                       context_.get());
  }
  return pcre2_jit_match(regex_.code_.get(), units_of(text), text.size(), from, 0, data_.get(), context_.get());
}

std::optional<RegexMatch> RegexMatcher::find(std::string_view text, size_t from) {
  int result = match(text, from);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT && !stack_) {
    stack_.reset(require(pcre2_jit_stack_create(kJitStackStart, kBacktrackBytesMax, nullptr)));
    pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
    result = match(text, from);
  }
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) throw TextError(fmt::format("the text cannot be split into words: {}", message_of(result)));
  const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(data_.get());
  return RegexMatch{bounds[0], bounds[1]};
}

}  // namespace bellwether::text
