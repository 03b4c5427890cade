// Whether a JSON value is valid by a JSON schema, judged from the specification and the value alone: nothing here knows
// of grammars.
#pragma once

#include <boost/json/value.hpp>

namespace bellwether::text::grammar {

// The keywords are those that json_schema.h supports, but for `format`. REQUIRES: the schema is well formed.
[[nodiscard]] bool is_valid(const boost::json::value& value, const boost::json::value& schema,
                            const boost::json::value& document);

}  // namespace bellwether::text::grammar
