// Stop strings in text that arrives in pieces.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::gateway {

// Lets text through up to the stop string that is complete first (of those that end together, the longest), wherever
// the text is cut. What may be the beginning of a stop string is held back until it is certain.
class StopStrings {
 public:
  // `included`: the stop string itself is let through, too.
  explicit StopStrings(std::vector<std::string> stop, bool included = false)
      : stop_(std::move(stop)), included_(included) {}

  [[nodiscard]] std::string push(std::string_view text);  // "" for good once stopped
  [[nodiscard]] std::string finish();                     // what was held back
  [[nodiscard]] bool stopped() const { return found_.has_value(); }
  [[nodiscard]] const std::string& found() const { return *found_; }  // REQUIRES: stopped()

 private:
  std::vector<std::string> stop_;  // none empty
  bool included_;
  std::string held_;
  std::optional<std::string> found_;
};

}  // namespace bellwether::gateway
