// A server that does nothing but answer: the least that any stream over HTTP costs on this machine.
#pragma once

#include <sys/types.h>

#include <string>

namespace bellwether::bench {

// A process of its own with one thread of Boost.Beast, on a free port of loopback. To any request it answers an event
// stream of `events` events of `event`'s text, a write for each, and [DONE].
class BareServer {
 public:
  BareServer(int events, std::string event);
  ~BareServer();
  BareServer(const BareServer&) = delete;
  BareServer& operator=(const BareServer&) = delete;

  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  std::string address_;
};

}  // namespace bellwether::bench
