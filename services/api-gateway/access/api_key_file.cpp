#include "api-gateway/access/api_key_file.h"

#include <utility>

#include "mesh/error.h"
#include "mesh/log.h"
#include "mesh/setting_file.h"
#include "mesh/sha256.h"

namespace bellwether::gateway {

ApiKeyFile::ApiKeyFile(std::string path) : path_(std::move(path)), stamp_(stamp_now()) {
  read();
}

ApiKeyFile::Stamp ApiKeyFile::stamp_now() const {
  struct stat about{};
  if (::stat(path_.c_str(), &about) != 0) return {};
  return {.device = about.st_dev,
          .inode = about.st_ino,
          .bytes = about.st_size,
          .modified_ns = int64_t{about.st_mtim.tv_sec} * 1'000'000'000 + about.st_mtim.tv_nsec};
}

void ApiKeyFile::read() {
  const std::string text = mesh::read_text_file(path_, "--api-keys-file", mesh::kApiKeysBytesMax);
  std::unordered_map<std::string, std::shared_ptr<const mesh::ApiKey>> keys;
  for (mesh::ApiKey& key : mesh::parse_api_keys(text, path_)) {
    std::string digest = key.sha256;
    keys.emplace(std::move(digest), std::make_shared<const mesh::ApiKey>(std::move(key)));
  }
  keys_ = std::move(keys);
}

bool ApiKeyFile::refresh() {
  const Stamp now = stamp_now();
  if (now == stamp_) return false;
  stamp_ = now;  // a bad file is complained of once
  try {
    read();
  } catch (const mesh::Error& error) {
    mesh::log::error("the API keys stay as they were",
                     {{"file", path_}, {"where", error.field()}, {"error", error.what()}});
    return false;
  }
  mesh::log::info("API keys read again", {{"file", path_}, {"keys", keys_.size()}});
  return true;
}

std::shared_ptr<const mesh::ApiKey> ApiKeyFile::find(std::string_view secret) const {
  const auto found = keys_.find(mesh::sha256_hex(secret));
  return found == keys_.end() ? nullptr : found->second;
}

std::vector<mesh::ApiKey> ApiKeyFile::keys() const {
  std::vector<mesh::ApiKey> keys;
  for (const auto& [digest, key] : keys_) keys.push_back(*key);
  return keys;
}

}  // namespace bellwether::gateway
