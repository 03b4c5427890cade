#include "text/jinja/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/filters.h"
#include "text/jinja/members.h"
#include "text/jinja/operators.h"
#include "text/jinja/value_tests.h"

namespace bellwether::text::jinja {
namespace {

ScopePtr inside(const ScopePtr& outer) {
  return std::make_shared<Scope>(Scope{.variables = {}, .outer = outer});
}

}  // namespace

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->outer.get()) {
    for (const auto& [each, value] : scope->variables) {
      if (each == name) return &value;
    }
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  const auto found =
      std::find_if(variables.begin(), variables.end(), [&](const auto& each) { return each.first == name; });
  if (found == variables.end()) {
    variables.emplace_back(name, std::move(value));
  } else {
    found->second = std::move(value);
  }
}

Interpreter::Interpreter(Budget& budget, std::time_t now)
    : budget_(budget), functions_(make_functions(budget_, namespaces_, now)) {}

std::string Interpreter::render(const Statements& statements,
                                std::vector<std::pair<std::string_view, Value>> variables) {
  const auto global = std::make_shared<Scope>(Scope{.variables = functions_, .outer = nullptr});
  const auto given = std::make_shared<Scope>(Scope{.variables = std::move(variables), .outer = global});
  execute(statements, inside(given));
  return std::move(out_);
}

Interpreter::Flow Interpreter::execute(const Statements& statements, const ScopePtr& scope) {
  for (const Statement& statement : statements) {
    const Flow flow = execute(statement, scope);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::execute(const Statement& statement, const ScopePtr& scope) {
  const Budget::Level level(budget_);
  budget_.spend_steps(1);
  line_ = statement.line;
  return std::visit([&](const auto& node) { return run(node, scope); }, statement.node);
}

Interpreter::Flow Interpreter::run(const Data& node, const ScopePtr& /*scope*/) {
  budget_.spend_text(node.text->size());
  out_.append(*node.text);
  budget_.check_output(out_.size());
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const Print& node, const ScopePtr& scope) {
  const Value value = evaluate(*node.value, scope);
  append_printed(value, out_, budget_);
  budget_.check_output(out_.size());
  return Flow::kNext;
}

std::shared_ptr<const Values> Interpreter::loop_items(const For& node, const ScopePtr& scope) {
  const auto items = items_of(evaluate(*node.items, scope), budget_);
  if (node.condition == nullptr) return items;
  Values selected;
  for (const Value& item : *items) {
    const ScopePtr inner = inside(scope);
    assign(node.target, item, inner);
    if (is_true(evaluate(*node.condition, inner))) selected.push_back(item);
  }
  return std::make_shared<const Values>(std::move(selected));
}

Interpreter::Flow Interpreter::run(const For& node, const ScopePtr& scope) {
  const auto loop = std::make_shared<Loop>();
  loop->items = loop_items(node, scope);
  for (; loop->index < loop->items->size(); ++loop->index) {
    budget_.spend_steps(1);
    const ScopePtr inner = inside(scope);
    inner->set("loop", Value(loop));
    assign(node.target, (*loop->items)[loop->index], inner);
    if (execute(node.body, inner) == Flow::kBreak) return Flow::kNext;
  }
  return loop->items->empty() ? execute(node.otherwise, inside(scope)) : Flow::kNext;
}

Interpreter::Flow Interpreter::run(const If& node, const ScopePtr& scope) {
  for (const If::Branch& branch : node.branches) {
    if (is_true(evaluate(*branch.condition, scope))) return execute(branch.body, scope);
  }
  return execute(node.otherwise, scope);
}

Interpreter::Flow Interpreter::run(const Set& node, const ScopePtr& scope) {
  assign(node.target, evaluate(*node.value, scope), scope);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const SetBlock& node, const ScopePtr& scope) {
  const Value text = captured(node.body, scope);
  assign(node.target, node.filter == nullptr ? text : filtered(*node.filter, text, scope), scope);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const Macro& node, const ScopePtr& scope) {
  scope->set(node.name, make_function(node.name, node.parameters, node.body, scope));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const CallBlock& node, const ScopePtr& scope) {
  const Call& call_node = std::get<Call>(node.call->node);
  Arguments arguments = evaluate(call_node.arguments, scope);
  arguments.named.emplace_back("caller", make_function("caller", node.parameters, node.body, scope));
  append_printed(call(evaluate(*call_node.callee, scope), arguments), out_, budget_);
  budget_.check_output(out_.size());
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const FilterBlock& node, const ScopePtr& scope) {
  append_printed(filtered(*node.filter, captured(node.body, scope), scope), out_, budget_);
  budget_.check_output(out_.size());
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const With& node, const ScopePtr& scope) {
  const ScopePtr inner = inside(scope);
  for (const auto& [target, value] : node.variables) assign(target, evaluate(*value, scope), inner);
  return execute(node.body, inner);
}

Interpreter::Flow Interpreter::run(const Scoped& node, const ScopePtr& scope) {
  return execute(node.body, inside(scope));
}

Interpreter::Flow Interpreter::run(const Break& /*node*/, const ScopePtr& /*scope*/) {
  return Flow::kBreak;
}

Interpreter::Flow Interpreter::run(const Continue& /*node*/, const ScopePtr& /*scope*/) {
  return Flow::kContinue;
}

void Interpreter::assign(const Target& target, const Value& value, const ScopePtr& scope) {
  if (target.is_tuple) {
    const auto items = items_of(value, budget_);
    if (items->size() != target.parts.size()) {
      throw RenderError(fmt::format("{} values for {} names", items->size(), target.parts.size()));
    }
    for (size_t i = 0; i < items->size(); ++i) assign(target.parts[i], (*items)[i], scope);
  } else if (target.member.empty()) {
    scope->set(target.name, value);
  } else {
    const Value* const found = scope->find(target.name);
    Namespace* const space = found == nullptr ? nullptr : found->if_namespace();
    if (space == nullptr)
      throw RenderError(fmt::format("'{}' is no namespace; only its members can be set", target.name));
    space->members.insert_or_assign(target.member, value);
  }
}

Value Interpreter::captured(const Statements& statements, const ScopePtr& scope) {
  std::string outside = std::exchange(out_, {});
  execute(statements, inside(scope));
  return Value(std::exchange(out_, std::move(outside)));
}

Value Interpreter::filtered(const Expression& filters, const Value& text, const ScopePtr& scope) {
  const FilterUse& use = std::get<FilterUse>(filters.node);
  const Value input = use.input == nullptr ? text : filtered(*use.input, text, scope);
  return use.filter->apply(input, evaluate(use.arguments, scope), budget_);
}

Value Interpreter::make_function(std::string_view name, const Parameters& parameters, const Statements& body,
                                 const ScopePtr& scope) {
  // The function must not keep the scope that it stands in.
  auto run_body = [this, name, &parameters, &body, weak = std::weak_ptr<Scope>(scope)](const Arguments& arguments) {
    const ScopePtr outer = weak.lock();
    if (outer == nullptr) throw RenderError(fmt::format("'{}' is called outside of where it was defined", name));
    const ScopePtr inner = inside(outer);
    bind(name, parameters, arguments, inner);
    return captured(body, inner);
  };
  return make_callable(std::string(name), std::move(run_body), Value(), budget_);
}

// By position, by name, by default; what is still missing is undefined.
void Interpreter::bind(std::string_view name, const Parameters& parameters, const Arguments& arguments,
                       const ScopePtr& inner) {
  const auto& declared = parameters.parameters;
  if (arguments.positional.size() > declared.size()) {
    throw RenderError(fmt::format("'{}' takes not more than {} arguments", name, declared.size()));
  }
  for (const auto& [given, value] : arguments.named) {
    const auto found =
        std::find_if(declared.begin(), declared.end(), [&](const auto& each) { return each.name == given; });
    if (found == declared.end() && given != "caller") {
      throw RenderError(fmt::format("'{}' takes no argument named '{}'", name, given));
    }
    if (found != declared.end() && static_cast<size_t>(found - declared.begin()) < arguments.positional.size()) {
      throw RenderError(fmt::format("'{}' is given '{}' twice", name, given));
    }
    inner->set(found == declared.end() ? std::string_view("caller") : std::string_view(found->name), value);
  }
  for (size_t i = 0; i < declared.size(); ++i) {
    const Parameters::Parameter& parameter = declared[i];
    const bool named = std::any_of(arguments.named.begin(), arguments.named.end(),
                                   [&](const auto& each) { return each.first == parameter.name; });
    if (i < arguments.positional.size()) {
      inner->set(parameter.name, arguments.positional[i]);
    } else if (!named && parameter.default_value != nullptr) {
      inner->set(parameter.name, evaluate(*parameter.default_value, inner));
    } else if (!named) {
      inner->set(parameter.name, Undefined{fmt::format("parameter '{}' was not provided", parameter.name)});
    }
  }
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  require_defined(callee);
  const Callable* const callable = callee.if_callable();
  if (callable == nullptr) throw RenderError(fmt::format("'{}' object is not callable", type_name(callee)));
  return callable->call(arguments);
}

Arguments Interpreter::evaluate(const ArgumentList& list, const ScopePtr& scope) {
  Arguments arguments;
  for (const ExpressionPtr& each : list.positional) arguments.positional.push_back(evaluate(*each, scope));
  for (const auto& [name, each] : list.named) arguments.named.emplace_back(name, evaluate(*each, scope));
  if (list.more_positional != nullptr) {
    const auto items = items_of(evaluate(*list.more_positional, scope), budget_);
    for (const Value& value : *items) {
      arguments.positional.push_back(value);
    }
  }
  if (list.more_named != nullptr) {
    const Value more = evaluate(*list.more_named, scope);
    if (more.if_dict() == nullptr) throw RenderError("** takes a mapping");
    for (const auto& [name, value] : more.if_dict()->members) {
      if (name.if_text() == nullptr) throw RenderError("the names of arguments must be strings");
      arguments.named.emplace_back(*name.if_text(), value);
    }
  }
  return arguments;
}

Value Interpreter::evaluate(const Expression& expression, const ScopePtr& scope) {
  const Budget::Level level(budget_);
  budget_.spend_steps(1);
  line_ = expression.line;
  return std::visit([&](const auto& node) { return value_of(node, scope); }, expression.node);
}

Value Interpreter::value_of(const Constant& node, const ScopePtr& /*scope*/) {
  return node.value;
}

Value Interpreter::value_of(const Variable& node, const ScopePtr& scope) {
  if (const Value* const found = scope->find(node.name)) return *found;
  return Undefined{fmt::format("'{}' is undefined", node.name)};
}

Value Interpreter::value_of(const ListLiteral& node, const ScopePtr& scope) {
  Values items;
  for (const ExpressionPtr& item : node.items) items.push_back(evaluate(*item, scope));
  return make_list(std::move(items), budget_, node.is_tuple ? List::Kind::kTuple : List::Kind::kList);
}

Value Interpreter::value_of(const DictLiteral& node, const ScopePtr& scope) {
  std::vector<std::pair<Value, Value>> members;
  for (const auto& [key, value] : node.members) {
    Value key_value = evaluate(*key, scope);
    members.emplace_back(std::move(key_value), evaluate(*value, scope));
  }
  return make_dict(std::move(members), budget_);
}

Value Interpreter::value_of(const Attribute& node, const ScopePtr& scope) {
  return attribute_of(evaluate(*node.object, scope), node.name, budget_);
}

Value Interpreter::value_of(const Item& node, const ScopePtr& scope) {
  const Value object = evaluate(*node.object, scope);
  return item_of(object, evaluate(*node.key, scope), budget_);
}

Value Interpreter::value_of(const Slice& node, const ScopePtr& scope) {
  const auto part = [&](const ExpressionPtr& each) { return each == nullptr ? Value() : evaluate(*each, scope); };
  const Value object = evaluate(*node.object, scope);
  const Value from = part(node.from);
  const Value to = part(node.to);
  return slice_of(object, from, to, part(node.step), budget_);
}

Value Interpreter::value_of(const Call& node, const ScopePtr& scope) {
  const Value callee = evaluate(*node.callee, scope);
  return call(callee, evaluate(node.arguments, scope));
}

Value Interpreter::value_of(const FilterUse& node, const ScopePtr& scope) {
  const Value input = evaluate(*node.input, scope);
  return node.filter->apply(input, evaluate(node.arguments, scope), budget_);
}

Value Interpreter::value_of(const TestUse& node, const ScopePtr& scope) {
  const Value input = evaluate(*node.input, scope);
  return Value(node.test->holds(input, evaluate(node.arguments, scope), budget_));
}

Value Interpreter::value_of(const Unary& node, const ScopePtr& scope) {
  const Value operand = evaluate(*node.operand, scope);
  if (node.operation == UnaryOperator::kNot) return Value(!is_true(operand));
  return apply(node.operation, operand);
}

Value Interpreter::value_of(const Binary& node, const ScopePtr& scope) {
  Value left = evaluate(*node.left, scope);
  if (node.operation == BinaryOperator::kAnd) return is_true(left) ? evaluate(*node.right, scope) : std::move(left);
  if (node.operation == BinaryOperator::kOr) return is_true(left) ? std::move(left) : evaluate(*node.right, scope);
  return apply(node.operation, left, evaluate(*node.right, scope), budget_);
}

Value Interpreter::value_of(const Concatenation& node, const ScopePtr& scope) {
  std::string text;
  for (const ExpressionPtr& part : node.parts) append_printed(evaluate(*part, scope), text, budget_);
  return Value(std::move(text));
}

Value Interpreter::value_of(const Comparison& node, const ScopePtr& scope) {
  Value left = evaluate(*node.first, scope);
  for (const auto& [comparator, expression] : node.rest) {
    Value right = evaluate(*expression, scope);
    if (!compare(comparator, left, right, budget_)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::value_of(const Conditional& node, const ScopePtr& scope) {
  if (is_true(evaluate(*node.condition, scope))) return evaluate(*node.yes, scope);
  if (node.no != nullptr) return evaluate(*node.no, scope);
  return Undefined{"the inline if-expression is false and has no else"};
}

}  // namespace bellwether::text::jinja
