// API keys: who may use a mesh from outside, and how much. A YAML file holds them:
//
//   keys:
//     - id: shop-1f09c3          # on log lines; unique
//       sha256: 2c26b4...        # of the whole key
//       tenant: shop             # whose it is
//       models: [deepseek-*]     # names, with * and ?; none given = all
//       requests_per_minute: 600
//       tokens_per_minute: 200000
//       concurrency: 32          # requests running at once; for all three, 0 or none given = no limit
//       priority: 0              # lower is served first
//
// The file holds no key, so that who reads it cannot use one. A plain SHA-256 is enough for that: a key has 160 random
// bits, which nobody finds by trying or in a table, so there is nothing for a slow hash or a salt to protect, and every
// request would pay for it. A key that a person made up must be as hard to guess.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::mesh {

struct ApiKey {
  std::string id = {};
  std::string sha256 = {};  // hexadecimal, lower case
  std::string tenant = {};
  std::vector<std::string> models = {};  // patterns; empty = all
  int64_t requests_per_minute = 0;       // 0 = no limit
  int64_t tokens_per_minute = 0;
  int64_t concurrency = 0;
  int64_t priority = 0;

  [[nodiscard]] bool may_use(std::string_view model) const;
  bool operator==(const ApiKey&) const = default;
};

// Whether all of `name` is as the pattern says: '*' is any text, '?' any character.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view name);

inline constexpr size_t kApiKeysBytesMax = size_t{4} * 1024 * 1024;

// The keys of a file's text. `path` names it in errors. Throws Error{kInvalidArgument} whose field is the place:
// "keys.yaml: keys[3].models".
[[nodiscard]] std::vector<ApiKey> parse_api_keys(const std::string& text, const std::string& path);

// Throws as parse_api_keys() when a value of the key is out of its bounds. `where` is the field's beginning.
void check_api_key(const ApiKey& key, const std::string& where);

// A new key: "bw-" and 40 random hexadecimal digits. What a client sends, and nobody else stores.
[[nodiscard]] std::string new_api_key();

// The key's entry of the file, an element of `keys`. parse_api_keys() reads it back.
[[nodiscard]] std::string render_api_key(const ApiKey& key);

}  // namespace bellwether::mesh
