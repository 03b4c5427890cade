// Checkpoints in the safetensors format: one file, or shards with model.safetensors.index.json. Files are mapped, not
// read: pages come in as they are touched.
//
// The header is untrusted: its length, its JSON, every dtype, shape and offset are checked against the file before any
// tensor is handed out; tensors must not overlap. Format: github.com/huggingface/safetensors.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "weights/tensor_source.h"

namespace bellwether::weights {

inline constexpr uint64_t kSafetensorsHeaderBytesMax = 100'000'000;

// One entry of a file's header. Offsets are bytes from the start of the file.
struct SafetensorsEntry {
  std::string name;
  DType dtype;
  Shape shape;
  uint64_t begin;
  uint64_t end;
};

// Parses and checks the header of a file of `file_bytes` bytes whose beginning is `head` (8 + header length bytes at
// least, else WeightsError). `file_name` is for messages. Pure; fuzzed.
[[nodiscard]] std::vector<SafetensorsEntry> parse_safetensors_header(std::span<const std::byte> head,
                                                                     uint64_t file_bytes, const std::string& file_name);

// Opens `folder`'s checkpoint (or one .safetensors file). Throws WeightsError.
[[nodiscard]] std::unique_ptr<TensorSource> open_safetensors(const std::filesystem::path& folder);

}  // namespace bellwether::weights
