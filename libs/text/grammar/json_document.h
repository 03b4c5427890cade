// A JSON schema out of its text.
#pragma once

#include <string_view>

#include <boost/json/value.hpp>

namespace bellwether::text::grammar {

// Throws GrammarError when the text is no JSON, or nested too deep.
[[nodiscard]] boost::json::value parse_json_document(std::string_view text);

}  // namespace bellwether::text::grammar
