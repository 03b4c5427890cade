// The one typed error of the mesh: what went wrong, in whose words, and which field was at fault.
#pragma once

#include <stdexcept>
#include <string>

namespace bellwether::mesh {

enum class ErrorCode {
  kInvalidArgument,    // the caller's input is wrong; retrying will not help
  kNotFound,           // what was named does not exist
  kUnavailable,        // nobody can serve this now; retrying later may help
  kResourceExhausted,  // a limit was reached; retrying later may help
  kDeadlineExceeded,   // no answer in time
  kInternal,           // ours to mend
};

class Error : public std::runtime_error {
 public:
  // `field` names the input at fault ("messages[0].role", "--nats-url"), or is empty.
  Error(ErrorCode code, const std::string& message, std::string field = {})
      : std::runtime_error(message), code_(code), field_(std::move(field)) {}

  [[nodiscard]] ErrorCode code() const { return code_; }
  [[nodiscard]] const std::string& field() const { return field_; }

 private:
  ErrorCode code_;
  std::string field_;
};

}  // namespace bellwether::mesh
