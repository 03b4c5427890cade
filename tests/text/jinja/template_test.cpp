#include "text/jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <boost/json/array.hpp>

namespace bellwether::text::jinja {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string load_error(const std::string& source, const Limits& limits = {}) {
  try {
    (void)Template::parse(source, limits);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "loaded";
}

std::string render_error(const std::string& source, const boost::json::object& variables = {},
                         const Limits& limits = {}) {
  try {
    return "rendered " + Template::parse(source, limits).render(variables, 0).substr(0, 100);
  } catch (const RenderError& error) {
    return error.what();
  }
}

TEST(JinjaTemplate, WhatIsNotSupportedIsAnErrorAtLoadWithItsLine) {
  struct Case {
    std::string source;
    std::string error;
  };
  const std::vector<Case> cases = {
      {"a\n{% include 'x' %}", "line 2: the tag 'include' is not supported here"},
      {"{% extends 'x' %}", "line 1: the tag 'extends'"},
      {"{% import 'x' as y %}", "line 1: the tag 'import'"},
      {"\n\n{% block a %}{% endblock %}", "line 3: the tag 'block'"},
      {"{% do x %}", "the tag 'do'"},
      {"{% autoescape true %}{% endautoescape %}", "the tag 'autoescape'"},
      {"{{ 'a'\n | urlize }}", "line 2: the filter 'urlize' is not supported"},
      {"{{ a | map('urlize') }}", "the filter 'urlize' is not supported"},
      {"{{ a | selectattr('b', 'escaped') }}", "the test 'escaped' is not supported"},
      {"{{ a is escaped }}", "the test 'escaped' is not supported"},
      {"{{ a.append(1) }}", "the method 'append' is not supported"},
      {"{{ cycler(1) }}", "the function 'cycler' is not supported"},
      {"{{ '%s' % 1 }}", "formatting of a string by %"},
      {"{% for a in b recursive %}{% endfor %}", "recursive loops are not supported"},
      {"{% macro m() %}{{ varargs }}{% endmacro %}", "'varargs' is not supported"},
      {"{{ a[1, 2] }}", "several indices are not supported"},
  };
  for (const Case& each : cases) EXPECT_THAT(load_error(each.source), HasSubstr(each.error)) << each.source;
}

TEST(JinjaTemplate, WhatIsWrongIsAnErrorAtLoadWithItsLine) {
  struct Case {
    std::string source;
    std::string error;
  };
  const std::vector<Case> cases = {
      {"a\n{{ b", "line 2: the tag has no }}"},
      {"{% if a %}\n", "a tag is missing: {% endif %}"},
      {"{% for a in b %}\n\n{% endif %}", "line 3: the tag 'endif' is not supported here"},
      {"{{ }}", "expected an expression, not }}"},
      {"{{ a b }}", "expected }}, not 'b'"},
      {"{{ (a }}", "unexpected '}'"},
      {"{{ a) }}", "unexpected ')'"},
      {"{# a", "the comment has no end"},
      {"\n{% raw %}\n\n", "line 2: {% raw %} has no {% endraw %}"},
      {"{{ 'a\n }}", "line 1: the string has no end"},
      {"{{ 99999999999999999999 }}", "a number is too large"},
      {"{{ a ? b }}", "unexpected character ?"},
      {"{% set none = 1 %}", "'none' cannot be assigned to"},
      {"{% break %}", "'break' outside of a loop"},
      {"{% for a in b %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}", "'continue' outside of a loop"},
      {"{% macro m(a=1, b) %}{% endmacro %}", "'b' has no default"},
      {"{{ f(a=1, a=2) }}", "'a' is given twice"},
      {"{{ f(a=1, 2) }}", "wrong order"},
      {"{{ '\\ud800' }}", "no character"},
      {"\xff", "not UTF-8"},
      {"{{ a is b is c }}", "'b' is not supported"},
  };
  for (const Case& each : cases) EXPECT_THAT(load_error(each.source), HasSubstr(each.error)) << each.source;
}

TEST(JinjaTemplate, AnErrorWhileItRendersTellsTheLine) {
  EXPECT_EQ(render_error("a\n{% if true %}\n{{ b.c }}{% endif %}"), "the chat template, line 3: 'b' is undefined");
  EXPECT_EQ(render_error("{{ b.c.d }}", {{"b", boost::json::object{}}}),
            "the chat template, line 1: 'dict object' has no attribute 'c'");
  EXPECT_EQ(render_error("{% macro m() %}\n\n{{ 1 + 'a' }}{% endmacro %}\n{{ m() }}"),
            "the chat template, line 3: unsupported operand types for +: 'int' and 'str'");
}

TEST(JinjaTemplate, RaisedMessagesAreAsTheyAre) {
  try {
    (void)Template::parse("{{ raise_exception('Only one system message') }}").render({}, 0);
    FAIL();
  } catch (const RenderError&) {
    FAIL() << "it would tell the line";
  } catch (const TextError& error) {
    EXPECT_STREQ(error.what(), "Only one system message");
  }
}

TEST(JinjaTemplate, TheTimeIsTheOneGiven) {
  const std::string text = Template::parse("{{ strftime_now('%Y') }}").render({}, 1'740'000'000);
  EXPECT_EQ(text, "2025");
}

TEST(JinjaTemplate, IsNotEvaluatedFurtherThanItsLimits) {
  const Limits limits{.output_bytes_max = 10'000, .steps_max = 100'000, .text_bytes_max = 1'000'000, .depth_max = 100};
  struct Case {
    std::string source;
    std::string error;
  };
  const std::vector<Case> cases = {
      {"{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}", "more than 100000 steps"},
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested deeper than 100 levels"},
      {"{% set ns = namespace(x='abcdefgh') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
       "more than 1000000 bytes of text"},
      {"{{ 'x' * 999999999999 }}", "more than 1000000 bytes of text"},
      {"{{ [1] * 999999999999 }}", "more than 100000 steps"},
      {"{% for i in range(100) %}{{ 'x' * 200 }}{% endfor %}", "writes more than 10000 bytes"},
      {"{% set ns = namespace(x=1) %}{% for i in range(200) %}{% set ns.x = [ns.x] %}{% endfor %}", "nested deeper"},
      {"{% set ns = namespace(x='a') %}{% for i in range(200) %}{% set ns.x = [ns.x].index %}{% endfor %}",
       "nested deeper"},
      {"{{ 'a' | replace('', 'x' * 900000) }}", "more than 1000000 bytes of text"},
      {"{{ ('a,' * 100000).split(',') | join('b' * 1000) }}", "more than"},
      {"{{ range(999999) }}", "more than 100000 items"},
      {"{{ 9223372036854775807 + 1 }}", "more than 64 bits"},
      {"{{ 10 ** 19 }}", "more than 64 bits"},
  };
  for (const Case& each : cases)
    EXPECT_THAT(render_error(each.source, {}, limits), HasSubstr(each.error)) << each.source;
}

TEST(JinjaTemplate, IsNotParsedFurtherThanItsLimits) {
  const auto repeated = [](const std::string& text, size_t times) {
    std::string all;
    for (size_t i = 0; i < times; ++i) all += text;
    return all;
  };
  const std::vector<std::string> deep = {
      "{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}",
      "{{ " + repeated("[", 5000) + repeated("]", 5000) + " }}",
      "{{ " + repeated("not ", 5000) + "1 }}",
      "{{ " + repeated("-", 5000) + "1 }}",
      "{{ 1" + repeated(" + 1", 5000) + " }}",
      "{{ a" + repeated(".a", 5000) + " }}",
      "{{ a" + repeated("|trim", 5000) + " }}",
      "{{ 1" + repeated(" if 1 else 1", 5000) + " }}",
      repeated("{% if 1 %}", 5000) + repeated("{% endif %}", 5000),
      "{% for " + repeated("(", 5000) + "a" + repeated(")", 5000) + " in b %}{% endfor %}",
  };
  for (const std::string& source : deep) {
    EXPECT_THAT(load_error(source), HasSubstr("nested deeper than 400 levels")) << source.substr(0, 40);
  }
  EXPECT_EQ(load_error("abcd", {.template_bytes_max = 3}), "the template has more than 3 bytes");
}

TEST(JinjaTemplate, NamespacesThatHoldThemselvesAreLetGo) {  // the address sanitizer counts
  const std::string source =
      "{% set ns = namespace() %}{% set ns.self = ns %}{% macro m() %}{{ ns is defined }}{% endmacro %}"
      "{% set ns.m = m %}{% set ns.list = [ns, ns.m] %}{{ m() }}"
      "{% set chain = namespace() %}{% for i in range(9999) %}{% set chain.next = namespace(next=chain.next) %}{% "
      "endfor %}";
  EXPECT_EQ(Template::parse(source).render({}, 0), "True");
}

TEST(JinjaTemplate, ManyLongMessagesTakeTheirTimeOnly) {
  boost::json::array messages;
  for (int i = 0; i < 1000; ++i) {
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", std::string(2000, 'x')}});
  }
  const Template chat =
      Template::parse("{% for m in messages %}{{ '<' + m.role + '>' + m['content'] | trim + '</s>' }}{% endfor %}");
  EXPECT_EQ(chat.render({{"messages", messages}}, 0).size(), 1000 * (2000 + 4 + 2) + 500 * (4 + 9));
}

}  // namespace
}  // namespace bellwether::text::jinja
