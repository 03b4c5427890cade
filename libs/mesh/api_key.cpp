#include "mesh/api_key.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "mesh/ids.h"
#include "mesh/setting_file.h"
#include "mesh/sha256.h"

namespace bellwether::mesh {
namespace {

constexpr size_t kKeysMax = 10000;
constexpr size_t kNameBytesMax = 64;
constexpr size_t kModelsMax = 256;
constexpr size_t kPatternBytesMax = 256;
constexpr size_t kSha256Digits = 64;
constexpr double kPerMinuteMax = 1e12;
constexpr double kConcurrencyMax = 1e6;
constexpr double kPriorityMax = 1000;  // and its negative
constexpr int kKeyDigits = 40;

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kNameBytesMax && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

bool is_pattern(std::string_view text) {
  return !text.empty() && text.size() <= kPatternBytesMax &&
         std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
}

bool is_sha256(std::string_view text) {
  return text.size() == kSha256Digits &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

void require_name(std::string_view text, const std::string& where) {
  if (is_name(text)) return;
  reject_setting(where, fmt::format("must be 1 to {} of the characters A-Z a-z 0-9 - _ .", kNameBytesMax));
}

const SettingAbout kPerMinute = {.sentence = "", .min = 0, .max = kPerMinuteMax};
const SettingAbout kConcurrency = {.sentence = "", .min = 0, .max = kConcurrencyMax};
const SettingAbout kPriority = {.sentence = "", .min = -kPriorityMax, .max = kPriorityMax};
const SettingAbout kText = {.sentence = ""};
const SettingAbout kSecretText = {.sentence = "", .secret = true};  // perhaps somebody wrote the key itself there

void check_number(int64_t value, const SettingAbout& about, const std::string& where) {
  int64_t checked = 0;
  assign(&checked, about, fmt::to_string(value), where);
}

ApiKey parse_entry(const YAML::Node& entry, const std::string& where) {
  ApiKey key;
  if (!entry.IsMap()) reject_setting(where, "must be a map of `id`, `sha256`, `tenant` and more");
  for_each_entry(entry, where, [&](const std::string& name, const YAML::Node& value) {
    const std::string origin = where + "." + printable(name);
    const auto read = [&](SettingTarget target, const SettingAbout& about) {
      assign_node(target, about, value, origin);
    };
    if (name == "id") return read(&key.id, kText);
    if (name == "sha256") return read(&key.sha256, kSecretText);
    if (name == "tenant") return read(&key.tenant, kText);
    if (name == "models") return read(&key.models, kText);
    if (name == "requests_per_minute") return read(&key.requests_per_minute, kPerMinute);
    if (name == "tokens_per_minute") return read(&key.tokens_per_minute, kPerMinute);
    if (name == "concurrency") return read(&key.concurrency, kConcurrency);
    if (name == "priority") return read(&key.priority, kPriority);
    reject_setting(origin, "is no property of a key" +
                               did_you_mean(name, {"id", "sha256", "tenant", "models", "requests_per_minute",
                                                   "tokens_per_minute", "concurrency", "priority"}));
  });
  check_api_key(key, where);
  return key;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view name) {
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;  // the last '*' seen, and where the text after it was tried last
  size_t tried = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      tried = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++tried;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool ApiKey::may_use(std::string_view model) const {
  return models.empty() ||
         std::ranges::any_of(models, [&](const std::string& pattern) { return matches(pattern, model); });
}

void check_api_key(const ApiKey& key, const std::string& where) {
  require_name(key.id, where + ".id");
  require_name(key.tenant, where + ".tenant");
  if (!is_sha256(key.sha256)) {
    reject_setting(where + ".sha256", "must be the key's SHA-256, 64 lower-case hexadecimal digits");
  }
  if (key.models.size() > kModelsMax) {
    reject_setting(where + ".models", fmt::format("has more than {} entries", kModelsMax));
  }
  for (const std::string& pattern : key.models) {
    if (!is_pattern(pattern)) {
      reject_setting(
          where + ".models",
          fmt::format("has a name that is empty, longer than {} bytes, or not printable ASCII", kPatternBytesMax));
    }
  }
  check_number(key.requests_per_minute, kPerMinute, where + ".requests_per_minute");
  check_number(key.tokens_per_minute, kPerMinute, where + ".tokens_per_minute");
  check_number(key.concurrency, kConcurrency, where + ".concurrency");
  check_number(key.priority, kPriority, where + ".priority");
}

std::vector<ApiKey> parse_api_keys(const std::string& text, const std::string& path) {
  const YAML::Node document = parse_yaml_document(text, path);
  if (!document.IsMap() || !document["keys"].IsDefined()) reject_setting(path, "must have a list `keys`");
  std::vector<ApiKey> keys;
  for_each_entry(document, path, [&](const std::string& name, const YAML::Node& list) {
    if (name != "keys") reject_setting(path + ": " + printable(name), "is unknown; there is `keys` only");
    if (list.IsNull()) return;
    if (!list.IsSequence()) reject_setting(path + ": keys", "must be a list");
    if (list.size() > kKeysMax) reject_setting(path + ": keys", fmt::format("has more than {} entries", kKeysMax));
    for (const auto& entry : list) {
      keys.push_back(parse_entry(entry, fmt::format("{}: keys[{}]", path, keys.size())));
    }
  });
  std::set<std::string_view> ids;
  std::set<std::string_view> digests;
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::string where = fmt::format("{}: keys[{}]", path, i);
    if (!ids.insert(keys[i].id).second) reject_setting(where + ".id", "is that of another key, too");
    if (!digests.insert(keys[i].sha256).second) reject_setting(where + ".sha256", "is that of another key, too");
  }
  return keys;
}

std::string new_api_key() {
  return random_id("bw", kKeyDigits);
}

std::string render_api_key(const ApiKey& key) {
  YAML::Emitter out;
  out << YAML::BeginSeq << YAML::BeginMap;
  out << YAML::Key << "id" << YAML::Value << key.id;
  out << YAML::Key << "sha256" << YAML::Value << YAML::DoubleQuoted << key.sha256;
  out << YAML::Key << "tenant" << YAML::Value << key.tenant;
  if (!key.models.empty()) out << YAML::Key << "models" << YAML::Value << YAML::Flow << key.models;
  const auto number = [&](const char* name, int64_t value) {
    if (value != 0) out << YAML::Key << name << YAML::Value << value;
  };
  number("requests_per_minute", key.requests_per_minute);
  number("tokens_per_minute", key.tokens_per_minute);
  number("concurrency", key.concurrency);
  number("priority", key.priority);
  out << YAML::EndMap << YAML::EndSeq;
  return std::string(out.c_str()) + "\n";
}

}  // namespace bellwether::mesh
