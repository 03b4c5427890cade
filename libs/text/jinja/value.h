// The values of a template: Python's, as far as chat templates can tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/budget.h"

namespace bellwether::text::jinja {

class Value;
struct List;
struct Dict;
struct Namespace;
struct Loop;
struct Callable;

struct None {
  bool operator==(const None&) const = default;
};

// What a missing variable or member gives: printable as nothing, false, empty, and an error with this message for
// everything else.
struct Undefined {
  std::string message;
};

// Copies share what they hold. Texts, lists and dicts never change once made, as in transformers' sandbox; a Namespace
// is the one thing that does. Integers are of 64 bits: more is an error where Python goes on.
class Value {
 public:
  using Text = std::shared_ptr<const std::string>;
  using Variant = std::variant<Undefined, None, bool, int64_t, double, Text, std::shared_ptr<const List>,
                               std::shared_ptr<const Dict>, std::shared_ptr<Namespace>, std::shared_ptr<Loop>,
                               std::shared_ptr<const Callable>>;

  Value() : variant_(None{}) {}
  Value(Undefined undefined) : variant_(std::move(undefined)) {}
  explicit Value(bool value) : variant_(value) {}
  explicit Value(int64_t value) : variant_(value) {}
  explicit Value(double value) : variant_(value) {}
  explicit Value(std::string text) : variant_(std::make_shared<const std::string>(std::move(text))) {}
  explicit Value(Text text) : variant_(std::move(text)) {}
  explicit Value(std::shared_ptr<const List> list) : variant_(std::move(list)) {}
  explicit Value(std::shared_ptr<const Dict> dict) : variant_(std::move(dict)) {}
  explicit Value(std::shared_ptr<Namespace> space) : variant_(std::move(space)) {}
  explicit Value(std::shared_ptr<Loop> loop) : variant_(std::move(loop)) {}
  explicit Value(std::shared_ptr<const Callable> callable) : variant_(std::move(callable)) {}
  explicit Value(const char*) = delete;  // would be a bool

  [[nodiscard]] const Variant& variant() const { return variant_; }
  [[nodiscard]] bool is_undefined() const { return std::holds_alternative<Undefined>(variant_); }
  [[nodiscard]] bool is_none() const { return std::holds_alternative<None>(variant_); }
  // nullptr when it is something else.
  [[nodiscard]] const std::string* if_text() const;
  [[nodiscard]] const List* if_list() const;  // a tuple or a generator, too
  [[nodiscard]] const Dict* if_dict() const;
  [[nodiscard]] Namespace* if_namespace() const;
  [[nodiscard]] Loop* if_loop() const;
  [[nodiscard]] const Callable* if_callable() const;
  // Python's int includes bool.
  [[nodiscard]] const int64_t* if_integer(int64_t& room) const;
  [[nodiscard]] bool is_number() const;

 private:
  Variant variant_;
};

using Values = std::vector<Value>;

struct List {
  enum class Kind { kList, kTuple, kGenerator };
  Kind kind = Kind::kList;
  Values items;
  size_t depth = 1;
  mutable bool is_consumed = false;  // of a generator, which gives its items once
};

struct Dict {
  std::vector<std::pair<Value, Value>> members;  // in the order of their first appearance, keys distinct
  size_t depth = 1;

  [[nodiscard]] const Value* find(const Value& key) const;
  [[nodiscard]] const Value* find(std::string_view key) const;
};

struct Namespace {
  std::map<std::string, Value, std::less<>> members;
};

// The variable `loop` in one iteration of a for statement.
struct Loop {
  std::shared_ptr<const Values> items;
  size_t index = 0;
  Values last_changed;  // of loop.changed()
  bool has_changed = false;
};

struct Arguments {
  Values positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Callable {
  std::string name;
  std::function<Value(const Arguments&)> call;
  size_t depth = 1;  // of what it is bound to
};

// Lists and dicts are made by these, which keep them from nesting without end (destructors and printing recurse).
[[nodiscard]] Value make_list(Values items, Budget& budget, List::Kind kind = List::Kind::kList);
[[nodiscard]] Value make_dict(std::vector<std::pair<Value, Value>> members, Budget& budget);  // the last of a key wins
// REQUIRES: the keys are texts, no two equal.
[[nodiscard]] Value make_dict_of_distinct(std::vector<std::pair<Value, Value>> members, Budget& budget);
[[nodiscard]] Value make_text(std::string text, Budget& budget);
[[nodiscard]] Value make_callable(std::string name, std::function<Value(const Arguments&)> call, const Value& bound_to,
                                  Budget& budget);

[[nodiscard]] bool is_true(const Value& value);
[[nodiscard]] bool equal(const Value& a, const Value& b, Budget& budget);
// As print and str() do; `text` may be printed into.
void append_printed(const Value& value, std::string& text, Budget& budget);
[[nodiscard]] std::string printed(const Value& value, Budget& budget);
[[nodiscard]] std::string_view type_name(const Value& value);  // Python's: "str", "dict", "NoneType"
// Throws RenderError with the message of an undefined value.
[[noreturn]] void fail_undefined(const Undefined& undefined);
void require_defined(const Value& value);

// What a for statement goes through: items, keys of a dict, characters of a text, nothing for an undefined value.
// Throws RenderError for other values. A generator is empty from the second time on.
[[nodiscard]] std::shared_ptr<const Values> items_of(const Value& value, Budget& budget);
[[nodiscard]] bool is_iterable(const Value& value);

}  // namespace bellwether::text::jinja
