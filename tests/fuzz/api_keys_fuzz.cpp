// A file of API keys: any text is read or refused with its place, and what was read is read the same when rendered.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "mesh/api_key.h"
#include "mesh/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bellwether::mesh;
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    std::string rendered = "keys:\n";
    const auto keys = parse_api_keys(text, "keys.yaml");
    for (const ApiKey& key : keys) {
      rendered += render_api_key(key);
      static_cast<void>(key.may_use(text));
    }
    if (parse_api_keys(rendered, "rendered") != keys) std::abort();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidArgument || error.field().empty()) std::abort();
  }
  return 0;
}
