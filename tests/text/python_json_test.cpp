// What is expected here was written by CPython 3.11's json.dumps(json.loads(text), ensure_ascii=False).
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "text/python_json.h"

namespace bellwether::text {
namespace {

namespace json = boost::json;

std::string rewritten(std::string_view text) {
  return to_python_json(json::parse(text));
}

TEST(PythonJson, SeparatorsAndOrder) {
  EXPECT_EQ(rewritten(R"({"b":1,"a":[1,2,{"z":null,"y":[true,false]}],"":{}})"),
            R"({"b": 1, "a": [1, 2, {"z": null, "y": [true, false]}], "": {}})");
  EXPECT_EQ(rewritten("[]"), "[]");
  EXPECT_EQ(rewritten("{}"), "{}");
  EXPECT_EQ(rewritten("[[[]],[{}]]"), "[[[]], [{}]]");
}

TEST(PythonJson, StringsAreEscapedAsLittleAsMayBe) {
  EXPECT_EQ(rewritten(R"("\"\\\/\b\f\n\r\t")"), R"("\"\\/\b\f\n\r\t")");
  EXPECT_EQ(rewritten(R"("\u0000\u0001\u001f\u007f\u2028é中🤖<>&'")"), "\"\\u0000\\u0001\\u001f\x7F\u2028é中🤖<>&'\"");
  EXPECT_EQ(rewritten(R"({"\n":1})"), R"({"\n": 1})");
}

TEST(PythonJson, Integers) {
  for (const char* const text : {"0", "-1", "9223372036854775807", "-9223372036854775808", "18446744073709551615"}) {
    EXPECT_EQ(rewritten(text), text);
  }
}

TEST(PythonJson, FloatsAreTheShortestThatReadBack) {
  const std::vector<std::pair<double, std::string>> cases = {
      {1.0, "1.0"},
      {-0.0, "-0.0"},
      {0.1, "0.1"},
      {0.30000000000000004, "0.30000000000000004"},
      {1e15, "1000000000000000.0"},
      {9999999999999998.0, "9999999999999998.0"},
      {1e16, "1e+16"},
      {1.5e16, "1.5e+16"},
      {1e22, "1e+22"},
      {1e100, "1e+100"},
      {-1.25e-7, "-1.25e-07"},
      {0.0001, "0.0001"},
      {0.00012345, "0.00012345"},
      {0.00001, "1e-05"},
      {123456.789, "123456.789"},
      {5e-324, "5e-324"},
      {1.7976931348623157e308, "1.7976931348623157e+308"},
      {123456789012345680.0, "1.2345678901234568e+17"},
      {std::numeric_limits<double>::infinity(), "Infinity"},
      {-std::numeric_limits<double>::infinity(), "-Infinity"},
      {std::numeric_limits<double>::quiet_NaN(), "NaN"},
  };
  for (const auto& [value, expected] : cases) EXPECT_EQ(to_python_json(value), expected);
}

TEST(PythonJson, FloatsOfEverySizeReadBack) {
  for (int exponent = -307; exponent <= 307; ++exponent) {
    for (const char* const digits : {"1", "1.5", "9.999999999999999", "4.9406564584124654"}) {
      const double value = std::stod(digits + ("e" + std::to_string(exponent)));
      EXPECT_EQ(std::stod(to_python_json(value)), value);
    }
  }
}

TEST(PythonJson, DeepNesting) {
  json::value value = json::array();
  std::string expected = "[]";
  for (int depth = 0; depth < 1000; ++depth) {
    value = json::array({std::move(value)});
    expected = '[' + expected + ']';
  }
  EXPECT_EQ(to_python_json(value), expected);
}

TEST(PythonJson, OfAMemberGivenTwiceTheLastCountsInThePlaceOfTheFirst) {
  EXPECT_EQ(rewritten(R"({"a":1,"b":2,"a":3})"), R"({"a": 3, "b": 2})");
}

}  // namespace
}  // namespace bellwether::text
