// Context-free grammars as text, in the form that vLLM's `structured_outputs.grammar` takes from llama.cpp (GBNF).
#pragma once

#include <string_view>

#include "text/grammar/budget.h"
#include "text/grammar/nfa.h"

namespace bellwether::text::grammar {

// Rules `name ::= expression`, over as many lines as they need; the rule `root` is the text. Expressions are made of
// "texts" (or 'texts'), [classes], . (any character), names of rules, ( ), |, and the quantifiers * + ? {m} {m,} {m,n}.
// Escapes are those of pattern.h. # begins a comment. Rules may be recursive in any way, also on the left.
//
// Lark's form (`name: expression`) is refused, and so is whatever pattern.h refuses.
// Throws GrammarError with "character N", from 1. REQUIRES: `source` is UTF-8; the rule is empty.
void add_ebnf(Nfa& nfa, Rule root, std::string_view source);

}  // namespace bellwether::text::grammar
