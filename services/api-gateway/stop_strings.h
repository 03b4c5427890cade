// Stop strings in text that arrives in pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bellwether::gateway {

// Lets text through up to the stop string that is complete first (of those that end together, the longest), wherever
// the text is cut. What may be the beginning of a stop string is held back until it is certain.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stop) : stop_(std::move(stop)) {}

  [[nodiscard]] std::string push(std::string_view text);  // "" for good once stopped
  [[nodiscard]] std::string finish();                     // what was held back
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stop_;  // none empty
  std::string held_;
  bool stopped_ = false;
};

}  // namespace bellwether::gateway
