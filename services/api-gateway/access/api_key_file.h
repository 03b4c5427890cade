// The file of API keys, read again when it changes.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mesh/api_key.h"

namespace bellwether::gateway {

class ApiKeyFile {
 public:
  // Reads it. Throws mesh::Error{kInvalidArgument} when it cannot be used.
  explicit ApiKeyFile(std::string path);

  // Reads it again if it is another than before; true when there are new keys. A file that cannot be used is logged,
  // and the keys stay as they were.
  bool refresh();

  // The entry of the key that a client sent; nullptr for one that is not there.
  [[nodiscard]] std::shared_ptr<const mesh::ApiKey> find(std::string_view secret) const;

  [[nodiscard]] std::vector<mesh::ApiKey> keys() const;

 private:
  // What changes when somebody writes the file or puts another in its place.
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t bytes = 0;
    int64_t modified_ns = 0;
    bool operator==(const Stamp&) const = default;
  };

  [[nodiscard]] Stamp stamp_now() const;
  void read();

  std::string path_;
  Stamp stamp_;
  std::unordered_map<std::string, std::shared_ptr<const mesh::ApiKey>> keys_;  // by their SHA-256
};

}  // namespace bellwether::gateway
