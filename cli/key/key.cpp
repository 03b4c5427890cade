#include "cli/key/key.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "mesh/error.h"
#include "mesh/ids.h"
#include "mesh/setting_file.h"
#include "mesh/settings.h"
#include "mesh/sha256.h"

namespace bellwether::cli {
namespace {

constexpr int kIdDigits = 6;

struct KeySettings {
  std::string action;
  std::string file;
  mesh::ApiKey key;
};

void declare(mesh::Settings& declared, KeySettings& settings) {
  mesh::ApiKey& key = settings.key;
  declared.add_positional("new", &settings.action, "What to do; `new` makes a key", true);
  declared.add("tenant", &key.tenant, {.sentence = "Whose the key is"});
  declared.add("id", &key.id, {.sentence = "Its name in logs; by default the tenant's with some digits"});
  declared.add("model", &key.models,
               {.sentence = "A model that it may use, with * and ?; may be repeated; none = all"});
  declared.add("requests-per-minute", &key.requests_per_minute, {.sentence = "0 = no limit", .min = 0, .max = 1e12});
  declared.add("tokens-per-minute", &key.tokens_per_minute,
               {.sentence = "Prompt and output together; 0 = no limit", .min = 0, .max = 1e12});
  declared.add("concurrency", &key.concurrency,
               {.sentence = "Requests running at once; 0 = no limit", .min = 0, .max = 1e6});
  declared.add("priority", &key.priority, {.sentence = "Lower is served first", .min = -1000, .max = 1000});
  declared.add("file", &settings.file,
               {.sentence = "Key file that gets the entry, made if it is not there; empty prints the entry"});
}

// In place of the old file at once: a gateway that reads it meanwhile sees either.
void write_file(const std::string& path, const std::string& text) {
  const std::string fresh = fmt::format("{}.new-{}", path, ::getpid());
  std::error_code error;
  {
    std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
    using std::filesystem::perms;
    std::filesystem::permissions(fresh, perms::owner_read | perms::owner_write, error);
    if (!(out << text).flush()) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) std::filesystem::rename(fresh, path, error);
  if (!error) return;
  std::error_code ignored;
  std::filesystem::remove(fresh, ignored);
  throw mesh::Error(mesh::ErrorCode::kUnavailable, fmt::format("cannot write {}: {}", path, error.message()), "--file");
}

}  // namespace

std::string with_key(const std::string& file_text, const mesh::ApiKey& key, const std::string& path) {
  std::string text = file_text.empty() ? "keys:\n" : file_text;
  if (text.back() != '\n') text += '\n';
  text += mesh::render_api_key(key);
  static_cast<void>(mesh::parse_api_keys(text, path));
  return text;
}

int run_key(int argc, char** argv) {
  KeySettings settings;
  mesh::Settings declared("bellwether key", "key", "Makes a key for a gateway's --api-keys-file.");
  declare(declared, settings);
  if (const auto status = declared.parse_main(argc, argv)) return *status;
  if (settings.action != "new") {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "there is `bellwether key new` only", settings.action);
  }
  mesh::ApiKey& key = settings.key;
  if (key.tenant.empty()) throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "say whose key it is", "--tenant");
  if (key.id.empty()) key.id = mesh::random_id(key.tenant, kIdDigits);
  const std::string secret = mesh::new_api_key();
  key.sha256 = mesh::sha256_hex(secret);
  mesh::check_api_key(key, "the key");
  if (settings.file.empty()) {
    fmt::print("{}", mesh::render_api_key(key));
  } else {
    const bool exists = std::filesystem::exists(settings.file);
    const std::string old =
        exists ? mesh::read_text_file(settings.file, "--file", mesh::kApiKeysBytesMax) : std::string();
    write_file(settings.file, with_key(old, key, settings.file));
  }
  // Not on standard output, which may be on its way into the file.
  fmt::print(stderr, "The key, which is stored nowhere and shown only now:\n{}\n", secret);
  return 0;
}

}  // namespace bellwether::cli
