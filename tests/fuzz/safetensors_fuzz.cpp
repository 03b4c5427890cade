// A safetensors file is untrusted: any bytes are either refused with WeightsError or describe tensors inside the file.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using bellwether::weights::SafetensorsEntry;
  // Without the length the fuzzer would have to guess, the first byte says how many data bytes follow the header.
  if (size == 0) return 0;
  const size_t data_bytes = data[0];
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>((size - 1) >> (8 * i));
  file.append(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto parse = [](std::string_view head, uint64_t file_bytes) {
    try {
      const auto bytes = std::as_bytes(std::span(head));
      for (const SafetensorsEntry& entry : bellwether::weights::parse_safetensors_header(bytes, file_bytes, "fuzz")) {
        uint64_t elements = 1;
        for (const int64_t dimension : entry.shape) elements *= static_cast<uint64_t>(dimension);
        if (entry.begin > entry.end || entry.end > file_bytes) std::abort();
        if (entry.end - entry.begin != elements * bellwether::weights::bytes_of(entry.dtype)) std::abort();
      }
    } catch (const bellwether::weights::WeightsError&) {
    }
  };
  parse(file, file.size() + data_bytes);
  parse({reinterpret_cast<const char*>(data), size}, size);
  return 0;
}
