// The functions that every template may call: range, dict, namespace, raise_exception, strftime_now.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace bellwether::text::jinja {

// raise_exception's: its message is for whoever sent the conversation, as it is.
class Raised : public TextError {
 public:
  using TextError::TextError;
};

// Everything that a rendering makes and that can hold itself. Emptied at its end, which breaks circles.
class Namespaces {
 public:
  Namespaces() = default;
  Namespaces(const Namespaces&) = delete;
  Namespaces& operator=(const Namespaces&) = delete;
  ~Namespaces() {
    for (const auto& space : made_) space->members.clear();
  }
  [[nodiscard]] std::shared_ptr<Namespace> make() { return made_.emplace_back(std::make_shared<Namespace>()); }

 private:
  std::vector<std::shared_ptr<Namespace>> made_;
};

// `now`: for strftime_now, in local time. Budget and namespaces must outlive the functions.
[[nodiscard]] std::vector<std::pair<std::string_view, Value>> make_functions(Budget& budget, Namespaces& namespaces,
                                                                             std::time_t now);

}  // namespace bellwether::text::jinja
