// Tokens to a tree, by the grammar of Jinja 3.1 with the extensions that transformers sets: loopcontrols, generation.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/syntax.h"

namespace bellwether::text::jinja {

// Throws LoadError with the line, for what is wrong and for what is not supported: include, import, extends, block,
// do, autoescape, trans, recursive loops; filters, tests and methods that are not known here.
[[nodiscard]] Statements parse(std::string_view source, const Limits& limits);

}  // namespace bellwether::text::jinja
