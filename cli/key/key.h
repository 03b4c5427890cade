// `bellwether key new`: makes an API key.
#pragma once

#include <string>

#include "mesh/api_key.h"

namespace bellwether::cli {

// Exit status: 0, 1 when the file cannot be written, 2 for a wrong command line.
int run_key(int argc, char** argv);

// The text of a key file with one more key. `path` names it in errors. Throws mesh::Error{kInvalidArgument} when the
// file is none of keys, or has this key's id already.
[[nodiscard]] std::string with_key(const std::string& file_text, const mesh::ApiKey& key, const std::string& path);

}  // namespace bellwether::cli
