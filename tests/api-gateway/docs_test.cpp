// /openapi.json and /docs say what the gateway does: the same routes, and for every member of a body the same limits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "api-gateway/api.h"
#include "api-gateway/completion_request.h"
#include "api-gateway/docs/api_docs.h"
#include "api-gateway/messages_request.h"
#include "api-gateway/responses_request.h"
#include "api-gateway/tokenize_request.h"
#include "gateway_fixture.h"

namespace bellwether::testing {
namespace {

namespace json = boost::json;
using gateway::RequestLimits;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const json::object& description() {
  static const json::value value = json::parse(gateway::openapi_json());
  return value.as_object();
}

// What a {"$ref": "#/..."} names, with its allOf made one.
json::object resolved(const json::object& schema) {
  if (const json::value* ref = schema.if_contains("$ref")) {
    const std::string pointer(std::string_view(ref->as_string()).substr(1));
    return resolved(json::value(description()).at_pointer(pointer).as_object());
  }
  const json::value* parts = schema.if_contains("allOf");
  if (parts == nullptr) return schema;
  json::object properties;
  json::array required;
  for (const json::value& part : parts->as_array()) {
    const json::object object = resolved(part.as_object());
    for (const auto& property : object.at("properties").as_object()) properties.insert(property);
    if (const json::value* names = object.if_contains("required")) {
      for (const json::value& name : names->as_array()) required.push_back(name);
    }
  }
  return {{"properties", std::move(properties)}, {"required", std::move(required)}};
}

std::set<std::string> documented_routes() {
  std::set<std::string> routes;
  for (const auto& path : description().at("paths").as_object()) {
    for (const auto& method : path.value().as_object()) {
      std::string name(method.key());
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
      routes.insert(name + " " + std::string(path.key()));
    }
  }
  return routes;
}

TEST(ApiDocs, HaveTheRoutesThatThereAre) {
  std::set<std::string> routes = {"GET /health", "GET /ready", "GET /metrics"};  // every service's
  for (auto [method, path] : gateway::Api::routes()) {
    if (path.ends_with("/*")) path.replace(path.size() - 1, 1, "{id}");
    routes.insert(method + " " + path);
  }
  EXPECT_EQ(documented_routes(), routes);
}

class ApiDocsServed : public GatewayTest {};

TEST_F(ApiDocsServed, WithoutAKey) {
  start_gateway();
  HttpCall described(gateway_->address(), "GET", "/openapi.json");
  EXPECT_EQ(described.header("content-type"), "application/json");
  EXPECT_EQ(described.json().at("openapi"), "3.1.0");
  EXPECT_EQ(described.json().at("info").at("version"), BELLWETHER_VERSION);
  HttpCall page(gateway_->address(), "GET", "/docs");
  EXPECT_THAT(page.header("content-type"), StartsWith("text/html"));
  EXPECT_THAT(page.header("content-security-policy"), HasSubstr("default-src 'none'"));
  EXPECT_THAT(page.body(), StartsWith("<!doctype html>"));
  EXPECT_THAT(page.body(), Not(HasSubstr("://"))) << "nothing is fetched from elsewhere";
  for (const std::string& route : documented_routes()) {
    std::string path = route.substr(route.find('/'));
    if (path.ends_with("{id}")) path.replace(path.find('{'), 4, "x");
    HttpCall other(gateway_->address(), "PATCH", path);
    EXPECT_EQ(other.status(), 405U) << path;
    EXPECT_THAT(other.header("allow"), HasSubstr(route.substr(0, route.find(' ')))) << path;
  }
}

struct Body {
  const char* schema;  // its name
  const char* fine;    // with all that the others need
  std::function<void(const std::string&, const RequestLimits&)> parse;
};

std::ostream& operator<<(std::ostream& out, const Body& body) {
  return out << body.schema;
}

class DocumentedBody : public ::testing::TestWithParam<Body> {
 protected:
  // The field at fault when the member is such; nullopt when all is fine. null takes it out.
  static std::optional<std::string> fault(const std::string& name, const json::value& value) {
    json::object body = json::parse(GetParam().fine).as_object();
    if (value.is_null()) {
      body.erase(name);
    } else {
      body[name] = value;
    }
    try {
      constexpr RequestLimits kLimits{
          .messages_max = 500, .prompts_max = 500, .prompt_tokens_max = 1000, .choices_max = 128};
      GetParam().parse(json::serialize(body), kLimits);
      return std::nullopt;
    } catch (const mesh::Error& error) {
      return error.field();
    }
  }
  // That value, which has the same type, is one too many, or one too few.
  static void expect_refused(const std::string& name, const json::value& value) {
    EXPECT_THAT(fault(name, value).value_or("nothing"), StartsWith(name)) << json::serialize(value).substr(0, 100);
  }
  static void expect_taken(const std::string& name, const json::value& value) {
    EXPECT_EQ(fault(name, value), std::nullopt) << name << ": " << value;
  }

  static json::value of_another_type(const json::object& schema) {
    const std::string types = json::serialize(schema.at("type"));
    return types.find("string") == std::string::npos ? json::value("x") : json::value(true);
  }
  static json::value beside(const json::value& limit, int step) {
    if (limit.is_int64()) return limit.as_int64() + step;
    return limit.to_number<double>() + step;
  }

  static void check_numbers(const std::string& name, const json::object& schema) {
    if (const json::value* min = schema.if_contains("minimum")) {
      expect_refused(name, beside(*min, -1));
      expect_taken(name, *min);
    }
    if (const json::value* min = schema.if_contains("exclusiveMinimum")) expect_refused(name, *min);
    if (const json::value* max = schema.if_contains("maximum")) {
      expect_refused(name, beside(*max, 1));
      expect_taken(name, *max);
    }
  }
  static void check_sizes(const std::string& name, const json::object& schema) {
    if (schema.contains("minLength")) expect_refused(name, "");
    if (const json::value* max = schema.if_contains("maxLength")) {
      const auto bytes = max->to_number<size_t>();
      expect_refused(name, json::value(std::string(bytes + 1, 'x')));
      expect_taken(name, json::value(std::string(bytes, 'x')));
    }
    if (schema.contains("minItems")) expect_refused(name, json::array());
    if (const json::value* max = schema.if_contains("maxItems")) {
      expect_refused(name, json::array(max->to_number<size_t>() + 1, element_of(schema)));
    }
  }
  // One that may stand in such an array as often as one likes.
  static json::value element_of(const json::object& schema) {
    const json::object items = resolved(schema.at("items").as_object());
    return items.at("type") == "integer" ? json::value(7) : json::value("x");
  }
};

TEST_P(DocumentedBody, IsWhatIsRead) {
  const json::object schema =
      resolved({{"$ref", json::value(std::string("#/components/schemas/") + GetParam().schema)}});
  ASSERT_EQ(fault("", nullptr), std::nullopt);
  for (const auto& property : schema.at("properties").as_object()) {
    const std::string name(property.key());
    SCOPED_TRACE(name);
    const json::object member = resolved(property.value().as_object());
    expect_refused(name, of_another_type(member));
    check_numbers(name, member);
    check_sizes(name, member);
    if (const json::value* values = member.if_contains("enum")) {
      expect_refused(name, "nonsense");
      for (const json::value& value : values->as_array()) expect_taken(name, value);
    }
    if (const json::value* value = member.if_contains("default")) expect_taken(name, *value);
  }
  const json::value* required = schema.if_contains("required");
  for (const json::value& name : required == nullptr ? json::array() : required->as_array()) {
    EXPECT_EQ(fault(std::string(name.as_string()), nullptr), std::string(name.as_string()));
  }
}

#define SAY_HI R"("messages":[{"role":"user","content":"Hi"}])"
INSTANTIATE_TEST_SUITE_P(All, DocumentedBody,
                         ::testing::Values(Body{"ChatCompletionRequest", R"({"model":"m","logprobs":true,)" SAY_HI "}",
                                                [](const std::string& body, const RequestLimits& limits) {
                                                  (void)gateway::parse_chat_request(body, limits);
                                                }},
                                           Body{"CompletionRequest", R"({"model":"m","prompt":"Hi"})",
                                                [](const std::string& body, const RequestLimits& limits) {
                                                  (void)gateway::parse_completion_request(body, limits);
                                                }},
                                           Body{"ResponseRequest", R"({"model":"m","input":"Hi"})",
                                                [](const std::string& body, const RequestLimits& limits) {
                                                  (void)gateway::parse_responses_request(body, limits);
                                                }},
                                           Body{"MessageRequest", R"({"model":"m","max_tokens":5,)" SAY_HI "}",
                                                [](const std::string& body, const RequestLimits& limits) {
                                                  (void)gateway::parse_messages_request(body, limits);
                                                }},
                                           Body{"TokenizeRequest", R"({"prompt":"Hi"})",
                                                [](const std::string& body, const RequestLimits& limits) {
                                                  (void)gateway::parse_tokenize_request(body, limits);
                                                }},
                                           Body{"DetokenizeRequest", R"({"tokens":[7]})",
                                                [](const std::string& body, const RequestLimits& limits) {
                                                  (void)gateway::parse_detokenize_request(body, limits);
                                                }}));
#undef SAY_HI

}  // namespace
}  // namespace bellwether::testing
