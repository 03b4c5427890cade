"""Renders the templates here by Jinja2 itself, set up as Hugging Face transformers sets it up.

    python3 tests/data/templates/make_golden.py      # needs python3-jinja2

Writes golden.json: {"variables": {name: {...}}, "cases": [{"name", "file" or "template", "variables": name, "output"}]};
"error" in place of "output" where the template raises an exception: its message for raise_exception, null for others.
"""
import json
import pathlib

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

import expressions

HERE = pathlib.Path(__file__).parent
NOW = "01 Feb 2025"


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda format: NOW


def render(source, variables):
    try:
        return {"output": environment.from_string(source).render(**variables)}
    except Raised as error:
        return {"error": str(error)}
    except Exception:
        return {"error": None}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(name, arguments, id="call12345"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(text):
    return {"role": "tool", "content": text, "tool_call_id": "call12345"}


TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "The \"weather\" in a city — now.", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1},
                                         "scale": {"enum": ["°C", "°F"]}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "noop", "parameters": {"type": "object", "properties": {}}, "return": {}}},
]

CONVERSATIONS = {
    "one turn": {"messages": [user("Hi")]},
    "system": {"messages": [{"role": "system", "content": "  Be brief.\n"}, user("Hi"), assistant("Hello! "), user("Bye\n")]},
    "two systems": {"messages": [{"role": "system", "content": "A"}, user("Hi"), {"role": "system", "content": "B"}, user("x")]},
    "tools": {"messages": [{"role": "system", "content": "Be brief."}, user("Weather in Köln?")], "tools": TOOLS},
    "a call": {"messages": [
        user("Weather?"), assistant("", tool_calls=[call("weather", {"city": "Köln 🌧", "days": 2})]),
        tool("{\"sky\": \"rain\"}"), assistant("It rains."), user("And tomorrow?")], "tools": TOOLS},
    "a call as text": {"messages": [
        user("Weather?"), assistant("", tool_calls=[call("weather", "{\"city\":\"Köln\"}")]), tool("rain")],
        "tools": TOOLS},
    "two calls": {"messages": [
        user("Weather?"), assistant("Let me see.", tool_calls=[call("weather", {"city": "Rom"}), call("noop", {})]),
        tool("sun"), tool("nothing")]},
    "reasoning": {"messages": [
        user("2+2?"), assistant("4", reasoning_content="\nTwo and two\n"), user("3+3?"),
        assistant("<think>\nThree\n</think>\n\n6")]},
    "after tools": {"messages": [
        user("Weather?"), assistant("", reasoning_content="I ask.", tool_calls=[call("weather", {"city": "Rom"})]),
        tool("sun"), assistant("Sun.", reasoning_content="It says sun.")]},
    "no thinking": {"messages": [user("Hi")], "enable_thinking": False},
    "wrong order": {"messages": [user("a"), user("b")]},
    "built-in tools": {"messages": [
        user("x"), assistant("", tool_calls=[call("search", {"query": "b", "lang": "en"})]), tool("found")],
        "builtin_tools": ["search", "code_interpreter"]},
    "parts": {"messages": [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]},
        assistant("c"), {"role": "critic", "content": "?"}, {"role": "user", "content": []}]},
    "unknown parts": {"messages": [{"role": "user", "content": {"a": [1, 2.5, None, True, "it's"]}}]},
    "unknown role": {"messages": [{"role": "critic", "content": "?"}]},
    "short id": {"messages": [user("x"), assistant("", tool_calls=[call("noop", {}, id="1")])]},
}


def conversations():
    for name, conversation in CONVERSATIONS.items():
        for prompt in (True, False):
            yield f"{name}, {'with' if prompt else 'without'} generation prompt", {
                "bos_token": "<s>", "eos_token": "</s>", "tools": None, "add_generation_prompt": prompt, **conversation}


def main():
    variables = {"expressions": expressions.VARIABLES, **dict(conversations())}
    cases = []
    for path in sorted(HERE.glob("*.jinja")):
        for name, _ in conversations():
            output = render(path.read_text(), variables[name])
            cases.append({"name": f"{path.stem}, {name}", "file": path.name, "variables": name, **output})
    for source in expressions.TEMPLATES:
        output = render(source, expressions.VARIABLES)
        cases.append({"name": source, "template": source, "variables": "expressions", **output})
    golden = {"variables": variables, "cases": cases}
    (HERE / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
    errors = sum("error" in case for case in cases)
    print(f"{len(cases)} cases, {errors} of them errors, Jinja {jinja2.__version__}")


if __name__ == "__main__":
    main()
