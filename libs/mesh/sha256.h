// SHA-256 (FIPS 180-4), by OpenSSL.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace bellwether::mesh {

class Sha256 {
 public:
  // Throws Error{kInternal} when this machine's OpenSSL does not have it.
  Sha256();
  ~Sha256();

  void add(std::string_view bytes);

  // Of all that was added: 64 lower-case hexadecimal digits. REQUIRES: called once, last.
  [[nodiscard]] std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

[[nodiscard]] std::string sha256_hex(std::string_view bytes);

}  // namespace bellwether::mesh
