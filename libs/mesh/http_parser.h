// One HTTP/1.x request out of bytes, with limits. Knows no sockets: the connection feeds it, tests and the fuzzer too.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "mesh/http_server.h"

namespace bellwether::mesh {

// A request that is answered with `status` without reaching a handler; the connection closes behind it, because where
// the next request would begin is not known.
struct HttpRejection {
  unsigned status;
  std::string message;
};

class HttpParser {
 public:
  HttpParser(uint64_t header_bytes_max, uint64_t body_bytes_max);
  ~HttpParser();
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;

  // Consumes bytes from the front of `data` and returns how many; 0 = call again with these and more behind them.
  // Throws HttpRejection. REQUIRES: !done(), `data` not empty.
  size_t feed(std::string_view data);

  [[nodiscard]] bool header_done() const;
  [[nodiscard]] bool done() const;

  [[nodiscard]] size_t body_bytes() const;  // received so far

  // The rest is valid once header_done().
  [[nodiscard]] bool keep_alive() const;
  [[nodiscard]] bool http_1_0() const;
  [[nodiscard]] bool expects_continue() const;  // the client waits for "100 Continue" before it sends the body

  // Method, path, query, headers and body; `remote` is left empty. REQUIRES: done().
  [[nodiscard]] HttpRequest take();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bellwether::mesh
