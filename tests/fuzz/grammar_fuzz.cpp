// Any bytes as a constraint of any kind: an automaton from which every text that was begun can be ended, or a
// GrammarError.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar/constraint.h"
#include "text/grammar/matcher.h"

namespace {

using namespace bellwether::text;
using namespace bellwether::text::grammar;

// Bytes, and a few longer tokens.
const std::shared_ptr<const Vocabulary>& vocabulary() {
  static const auto vocabulary = [] {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
    for (const char* token :
         {"ab", "abc", "\":", "\",", "\"}", "}}", "]]", "],", "  ", "\n  ", "10", "é", "\xFF<end>"}) {
      tokens.emplace_back(token);
    }
    return std::make_shared<const Vocabulary>(std::move(tokens));
  }();
  return vocabulary;
}

void walk(const std::shared_ptr<const Automaton>& automaton, std::string_view choices) {
  const auto masks = std::make_shared<TokenMasks>(automaton, vocabulary());
  const auto end_id = static_cast<TokenId>(vocabulary()->size() - 1);
  Matcher matcher(masks, {end_id});
  std::vector<uint64_t> allowed(vocabulary()->mask_words());
  for (const char choice : choices) {
    std::fill(allowed.begin(), allowed.end(), 0);
    matcher.fill_allowed(allowed);
    std::vector<TokenId> ids;
    for (TokenId id = 0; id <= end_id; ++id) {
      if ((allowed[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0) ids.push_back(id);
    }
    if (ids.empty()) std::abort();
    matcher.accept(ids[static_cast<uint8_t>(choice) % ids.size()]);
    if (matcher.is_broken()) std::abort();
  }
}

GrammarLimits limits() {
  GrammarLimits limits;
  limits.states_max = 20'000;  // quick, so that the fuzzer sees more
  limits.work_max = 1'000'000;
  limits.table_bytes_max = 4 << 20;
  limits.state_mask_work_max = 1'000'000;
  limits.mask_work_max = 100'000;
  limits.items_max = 100'000;  // never reached by texts as short as these
  return limits;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t cut = input.rfind('\xFF');  // behind it, which tokens to take
  const std::string source(input.substr(0, cut));
  const std::string_view choices = cut == std::string_view::npos ? input.substr(0, 20) : input.substr(cut + 1, 60);
  Constraint constraint;
  switch (data[0] % 6) {
    case 0:
      constraint.text = JsonSchema{source};
      break;
    case 1:
      constraint.text = Regex{source};
      break;
    case 2:
      constraint.text = Ebnf{source};
      break;
    case 3:
      constraint.text = Ebnf{"root ::= " + source};
      break;
    case 4:
      constraint.calls = ToolCallGrammar{.functions = {{"f", source}}};
      break;
    default:
      constraint.text = Choice{{source, "a"}};
  }
  try {
    walk(compile(constraint, limits(), [](std::string_view) { return false; }), choices);
  } catch (const GrammarError&) {
  }
  return 0;
}
