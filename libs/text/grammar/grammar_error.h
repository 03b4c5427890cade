// What can be wrong with a schema, a regular expression or a grammar.
#pragma once

#include <stdexcept>
#include <string>

namespace bellwether::text::grammar {

// A constraint that cannot be compiled: `where` is a JSON pointer into the schema that ends with the keyword at fault
// ("/properties/age/multipleOf"), or a position in an expression ("character 7"), or "".
class GrammarError : public std::runtime_error {
 public:
  GrammarError(const std::string& where, const std::string& complaint)
      : std::runtime_error(where.empty() ? complaint : where + ": " + complaint),
        where_(where),
        complaint_(complaint) {}
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] const std::string& complaint() const { return complaint_; }  // what() without it

 private:
  std::string where_;
  std::string complaint_;
};

}  // namespace bellwether::text::grammar
