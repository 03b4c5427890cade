#include "text/grammar/json_document.h"

#include <boost/json/parse.hpp>

#include "text/grammar/grammar_error.h"

namespace bellwether::text::grammar {

boost::json::value parse_json_document(std::string_view text) {
  constexpr size_t kDepthMax = 256;
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(text, error, {}, {.max_depth = kDepthMax});
  if (error == boost::json::error::too_deep) throw GrammarError("", "is nested too deep");
  if (error) throw GrammarError("", "is no JSON");
  return value;
}

}  // namespace bellwether::text::grammar
