// A conversation as the next request tells it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace bellwether::cli {

class ChatSession {
 public:
  ChatSession(std::string model, std::string system, std::optional<double> temperature);

  // The body of the request that asks `prompt` after everything said before.
  [[nodiscard]] std::string request_body(const std::string& prompt) const;

  // Both become part of the conversation. Reasoning is none of it: models are trained not to see earlier reasoning.
  void remember(std::string prompt, std::string answer);

  // Forgets everything but the system message.
  void reset();

 private:
  struct Turn {
    std::string prompt;
    std::string answer;
  };

  std::string model_;
  std::string system_;
  std::optional<double> temperature_;
  std::vector<Turn> turns_;
};

}  // namespace bellwether::cli
