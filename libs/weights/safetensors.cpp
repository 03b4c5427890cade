#include "weights/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include <boost/json.hpp>

#include "weights/mapped_file.h"

namespace bellwether::weights {
namespace {

namespace json = boost::json;

constexpr uint64_t kLengthBytes = 8;  // the header's length, little-endian, before the header
constexpr uint64_t kIndexBytesMax = 100'000'000;
constexpr size_t kDimensionsMax = 8;

std::optional<DType> dtype_named(std::string_view name) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E4M3, DType::kF8E8M0, DType::kI64,
                            DType::kI32, DType::kI8, DType::kU8, DType::kBool}) {
    if (name_of(dtype) == name) return dtype;
  }
  return std::nullopt;
}

// Reads one tensor's entry; every complaint names the file and the tensor.
class EntryParser {
 public:
  EntryParser(const std::string& file_name, std::string_view tensor, uint64_t data_bytes)
      : file_name_(file_name), tensor_(tensor), data_bytes_(data_bytes) {}

  // `data_begin`: where in the file the data starts.
  [[nodiscard]] SafetensorsEntry parse(const json::value& value, uint64_t data_begin) const {
    const json::object* object = value.if_object();
    if (object == nullptr) fail("its entry is no object");
    const json::value* dtype_name = object->if_contains("dtype");
    if (dtype_name == nullptr || !dtype_name->is_string()) fail("dtype is missing");
    const auto dtype = dtype_named(dtype_name->get_string());
    if (!dtype) fail(fmt::format("dtype \"{}\" is unknown", std::string_view(dtype_name->get_string()).substr(0, 32)));

    SafetensorsEntry entry{.name = std::string(tensor_), .dtype = *dtype, .shape = {}, .begin = 0, .end = 0};
    uint64_t bytes = bytes_of(*dtype);
    for (const json::value& item : array_at(*object, "shape", kDimensionsMax)) {
      const uint64_t size = unsigned_of(item, "shape");
      if (__builtin_mul_overflow(bytes, size, &bytes) || size > std::numeric_limits<int64_t>::max()) {
        fail("shape is too large");
      }
      entry.shape.push_back(static_cast<int64_t>(size));
    }
    const json::array& offsets = array_at(*object, "data_offsets", 2);
    if (offsets.size() != 2) fail("data_offsets are not two numbers");
    const uint64_t begin = unsigned_of(offsets[0], "data_offsets");
    const uint64_t end = unsigned_of(offsets[1], "data_offsets");
    if (begin > end || end > data_bytes_) fail(fmt::format("data_offsets [{}, {}] leave the file", begin, end));
    if (end - begin != bytes) {
      fail(fmt::format("data_offsets cover {} bytes, but {} {} needs {}", end - begin, name_of(*dtype),
                       text_of(entry.shape), bytes));
    }
    entry.begin = data_begin + begin;
    entry.end = data_begin + end;
    return entry;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw WeightsError(fmt::format("{}: tensor {}: {}", file_name_, tensor_, what));
  }

  [[nodiscard]] const json::array& array_at(const json::object& object, const char* key, size_t size_max) const {
    const json::value* value = object.if_contains(key);
    if (value == nullptr || !value->is_array()) fail(fmt::format("{} is missing", key));
    if (value->get_array().size() > size_max) fail(fmt::format("{} has too many items", key));
    return value->get_array();
  }

  [[nodiscard]] uint64_t unsigned_of(const json::value& value, const char* key) const {
    if (value.is_uint64()) return value.get_uint64();
    if (value.is_int64() && value.get_int64() >= 0) return static_cast<uint64_t>(value.get_int64());
    fail(fmt::format("{} holds something that is no whole number from 0", key));
  }

  const std::string& file_name_;
  std::string_view tensor_;
  uint64_t data_bytes_;
};

// The format wants the data covered exactly once: neither overlaps nor gaps.
void check_coverage(std::vector<SafetensorsEntry> entries, uint64_t data_begin, uint64_t file_bytes,
                    const std::string& file_name) {
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  uint64_t covered = data_begin;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != covered) {
      throw WeightsError(fmt::format("{}: tensor {}: {} the tensor before it", file_name, entry.name,
                                     entry.begin < covered ? "overlaps" : "leaves a gap after"));
    }
    covered = entry.end;
  }
  if (covered != file_bytes) {
    throw WeightsError(fmt::format("{}: {} bytes at the end belong to no tensor", file_name, file_bytes - covered));
  }
}

class SafetensorsSource final : public TensorSource {
 public:
  void add_file(const std::filesystem::path& path) {
    const std::string file_name = path.string();
    MappedFile& file = *files_.emplace_back(std::make_unique<MappedFile>(path));
    for (SafetensorsEntry& entry : parse_safetensors_header(file.bytes(), file.bytes().size(), file_name)) {
      const Tensor tensor{.dtype = entry.dtype,
                          .shape = std::move(entry.shape),
                          .data = file.bytes().subspan(entry.begin, entry.end - entry.begin)};
      const auto [other, fresh] = tensors_.try_emplace(std::move(entry.name), Located{tensor, file_name});
      if (!fresh) {
        throw WeightsError(
            fmt::format("{}: tensor {}: is also in {}", file_name, other->first, other->second.file_name));
      }
    }
  }

  void require_in(const std::string& tensor, const std::string& file_name) const {
    const auto found = tensors_.find(tensor);
    if (found == tensors_.end() || found->second.file_name != file_name) {
      throw WeightsError(fmt::format("{}: tensor {}: is missing, though the index places it there", file_name, tensor));
    }
  }

  [[nodiscard]] Tensor get(const std::string& name, const Shape& shape) override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      throw WeightsError(fmt::format("{}: tensor {}: is missing", files_name_, name));
    }
    if (found->second.tensor.shape != shape) {
      throw WeightsError(fmt::format("{}: tensor {}: has shape {}, but {} is needed", found->second.file_name, name,
                                     text_of(found->second.tensor.shape), text_of(shape)));
    }
    return found->second.tensor;
  }

  [[nodiscard]] bool has(const std::string& name) const override { return tensors_.contains(name); }

  explicit SafetensorsSource(std::string files_name) : files_name_(std::move(files_name)) {}

 private:
  struct Located {
    Tensor tensor;
    std::string file_name;
  };

  std::string files_name_;  // the folder or the one file, for messages
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::unordered_map<std::string, Located> tensors_;
};

json::value read_index(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (!file || error) throw WeightsError(fmt::format("{}: cannot be read", path.string()));
  if (size > kIndexBytesMax) {
    throw WeightsError(fmt::format("{}: is larger than {} bytes", path.string(), kIndexBytesMax));
  }
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  json::error_code problem;
  json::value index = json::parse(text, problem);
  if (problem) throw WeightsError(fmt::format("{}: is no JSON: {}", path.string(), problem.message()));
  return index;
}

bool is_plain_file_name(std::string_view name) {
  return name.size() > 12 && name.size() <= 255 && name.ends_with(".safetensors") &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos && !name.starts_with('.');
}

std::unique_ptr<TensorSource> open_sharded(const std::filesystem::path& folder, const std::filesystem::path& path) {
  const json::value index = read_index(path);
  const json::value* weight_map = index.is_object() ? index.get_object().if_contains("weight_map") : nullptr;
  if (weight_map == nullptr || !weight_map->is_object()) {
    throw WeightsError(fmt::format("{}: weight_map is missing", path.string()));
  }
  std::set<std::string> file_names;
  for (const auto& [tensor, file] : weight_map->get_object()) {
    if (!file.is_string() || !is_plain_file_name(file.get_string())) {
      throw WeightsError(fmt::format("{}: tensor {}: its file is not the name of a .safetensors file beside the index",
                                     path.string(), std::string_view(tensor)));
    }
    file_names.emplace(file.get_string());
  }
  auto source = std::make_unique<SafetensorsSource>(folder.string());
  for (const std::string& name : file_names) source->add_file(folder / name);
  for (const auto& [tensor, file] : weight_map->get_object()) {
    source->require_in(std::string(tensor), (folder / std::string_view(file.get_string())).string());
  }
  return source;
}

}  // namespace

std::vector<SafetensorsEntry> parse_safetensors_header(std::span<const std::byte> head, uint64_t file_bytes,
                                                       const std::string& file_name) {
  const auto fail = [&](const std::string& what) { throw WeightsError(fmt::format("{}: {}", file_name, what)); };
  if (head.size() < kLengthBytes || file_bytes < kLengthBytes) fail("is too short to be a safetensors file");
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) header_bytes |= std::to_integer<uint64_t>(head[i]) << (8 * i);
  if (header_bytes > kSafetensorsHeaderBytesMax) fail(fmt::format("a header of {} bytes is too long", header_bytes));
  if (header_bytes > file_bytes - kLengthBytes || header_bytes > head.size() - kLengthBytes) {
    fail("ends before its header does");
  }
  const std::string_view text(reinterpret_cast<const char*>(head.data()) + kLengthBytes, header_bytes);
  if (!text.starts_with('{')) fail("its header is no JSON object");
  json::error_code problem;
  const json::value header = json::parse(text, problem);
  if (problem) fail("its header is no JSON: " + problem.message());

  const uint64_t data_begin = kLengthBytes + header_bytes;
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, value] : header.get_object()) {
    if (name == "__metadata__") continue;
    entries.push_back(EntryParser(file_name, name, file_bytes - data_begin).parse(value, data_begin));
  }
  check_coverage(entries, data_begin, file_bytes, file_name);
  return entries;
}

std::unique_ptr<TensorSource> open_safetensors(const std::filesystem::path& folder) {
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(folder, ignored);
  if (const auto index = folder / "model.safetensors.index.json";
      is_folder && std::filesystem::exists(index, ignored)) {
    return open_sharded(folder, index);
  }
  const auto file = is_folder ? folder / "model.safetensors" : folder;
  auto source = std::make_unique<SafetensorsSource>(file.string());
  source->add_file(file);
  return source;
}

}  // namespace bellwether::weights
