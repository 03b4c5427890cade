// Against Jinja2 itself: tests/data/templates/golden.json, which make_golden.py beside it wrote.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "text/jinja/functions.h"
#include "text/jinja/template.h"

namespace bellwether::text::jinja {
namespace {

namespace json = boost::json;

const std::string kFolder = BELLWETHER_SOURCE_DIR "/tests/data/templates/";

std::string read_file(const std::string& name) {
  std::ifstream file(kFolder + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Outcome {
  std::optional<std::string> output;
  std::string error = {};  // where there is no output
  bool is_raised = false;  // by raise_exception
};

Outcome rendered(const std::string& source, const json::object& variables) {
  std::tm date = {};
  date.tm_year = 125;
  date.tm_mon = 1;
  date.tm_mday = 1;
  date.tm_hour = 12;
  try {
    return {.output = Template::parse(source).render(variables, std::mktime(&date))};
  } catch (const Raised& error) {
    return {.output = {}, .error = error.what(), .is_raised = true};
  } catch (const TextError& error) {
    return {.output = {}, .error = error.what()};
  }
}

TEST(JinjaGolden, EveryTemplateGivesWhatJinjaGives) {
  const json::value golden = json::parse(read_file("golden.json"));
  size_t outputs = 0;
  size_t errors = 0;
  for (const json::value& value : golden.at("cases").as_array()) {
    const json::object& each = value.as_object();
    SCOPED_TRACE(std::string(each.at("name").as_string()));
    const json::value* const file = each.if_contains("file");
    const std::string source =
        file != nullptr ? read_file(std::string(file->as_string())) : std::string(each.at("template").as_string());
    const json::object& variables = golden.at("variables").at(each.at("variables").as_string()).as_object();
    const Outcome outcome = rendered(source, variables);
    if (const json::value* const output = each.if_contains("output")) {
      EXPECT_EQ(outcome.output.value_or("error: " + outcome.error), std::string(output->as_string()));
      ++outputs;
    } else {
      EXPECT_EQ(outcome.output, std::nullopt);
      EXPECT_EQ(outcome.is_raised, each.at("error").is_string()) << outcome.error;
      if (each.at("error").is_string()) {
        EXPECT_EQ(outcome.error, each.at("error").as_string());
      }
      ++errors;
    }
  }
  EXPECT_GT(outputs, 240);  // the file was there, and whole
  EXPECT_GT(errors, 50);
}

}  // namespace
}  // namespace bellwether::text::jinja
