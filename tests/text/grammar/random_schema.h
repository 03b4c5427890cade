// Random JSON schemas of the supported subset.
#pragma once

#include <random>
#include <string>

#include <boost/json/value.hpp>

namespace bellwether::text::grammar {

// With every supported keyword but `format`; recursive sometimes. Some allow no value.
[[nodiscard]] boost::json::value random_schema(std::mt19937_64& random);

}  // namespace bellwether::text::grammar
