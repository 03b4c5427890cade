// JSON and floats as Python writes them. Chat templates put tools into prompts this way, and models were trained on it.
#pragma once

#include <string>
#include <string_view>

#include <boost/json/value.hpp>

namespace bellwether::text {

// As json.dumps(value, ensure_ascii=False): ", " and ": " between, members in their order, floats in the shortest form
// that reads back. What Boost.JSON has lost is lost: integers of more than 64 bits, and (in 1.81) the last bit of some
// floats with many digits.
[[nodiscard]] std::string to_python_json(const boost::json::value& value);

// With its quotes; `ascii`: as json.dumps(text) does, everything beyond ASCII as \uXXXX. REQUIRES: UTF-8.
void append_json_string(std::string_view text, bool ascii, std::string& out);
void append_json_float(double value, std::string& out);    // 1.0, 1e-07, NaN, Infinity
void append_python_float(double value, std::string& out);  // repr(): the same, but nan and inf

}  // namespace bellwether::text
