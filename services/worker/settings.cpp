#include "worker/settings.h"

#include <fmt/format.h>

#include <filesystem>

#include "mesh/ids.h"
#include "text/chat_format.h"

namespace bellwether::worker {
namespace {

[[noreturn]] void refuse(const std::string& flag, const std::string& message) {
  throw mesh::Error(mesh::ErrorCode::kInvalidArgument, flag + ": " + message, flag);
}

// "models/bellwether-nano/" and "." have a name, too.
std::string folder_name(const std::filesystem::path& folder) {
  const auto whole = std::filesystem::canonical(folder);
  return whole.filename().string();
}

// Ids stand in subjects and log lines: the organisation before a slash makes them long and tells nothing.
std::string short_name(const std::string& model) {
  return model.substr(model.find_last_of('/') + 1);
}

}  // namespace

void declare(mesh::Settings& declared, WorkerSettings& settings) {
  declared.add("model", &settings.model, {.sentence = "Folder of the model: config.json, tokenizer and weights"});
  declared.add("served-model-name", &settings.served_model_name,
               {.sentence = "Name that clients use for the model; empty takes the folder's name"});
  declared.add("replica-id", &settings.replica_id,
               {.sentence = "Name of this replica, unique in the mesh; empty makes one up"});
  declared.add("device", &settings.device, {.sentence = "What computes", .choices = {"cpu"}});
  declared.add("load-format", &settings.load_format,
               {.sentence = "Where weights come from; synthetic needs config.json only and makes the weights up",
                .choices = {"auto", "safetensors", "synthetic"}});
  declared.add("chat-format", &settings.chat_format,
               {.sentence = "How messages become a prompt", .choices = text::chat_format_names()});
  declared.add(
      "threads", &settings.threads,
      {.sentence = "Computing threads; 0 takes one for each CPU this process may run on", .min = 0, .max = 1024});
  declared.add("max-num-seqs", &settings.max_num_seqs,
               {.sentence = "Sequences computed at once", .min = 1, .max = 4096});
  declared.add("max-num-waiting", &settings.max_num_waiting,
               {.sentence = "Sequences that may wait beyond those; more are refused", .min = 0, .max = 65536});
  declared.add("kv-blocks", &settings.kv_blocks,
               {.sentence = "Size of the KV cache; 0 takes what two sequences of full length need, at least 512",
                .unit = "blocks",
                .min = 0,
                .max = 1 << 30});
  declared.add("max-num-batched-tokens", &settings.max_num_batched_tokens,
               {.sentence = "Tokens computed in one step", .unit = "tokens", .min = 1, .max = 1 << 20});
  declared.add("max-model-len", &settings.max_model_len,
               {.sentence = "Longest prompt and output together; 0 takes the model's own limit",
                .unit = "tokens",
                .min = 0,
                .max = 1 << 30});
}

WorkerSettings resolve(WorkerSettings settings) {
  if (settings.model.empty()) {
    refuse("--model", "give the folder of a model, for example --model models/bellwether-nano");
  }
  std::error_code error;
  if (!std::filesystem::is_directory(settings.model, error)) {
    refuse("--model", fmt::format("'{}' is not a folder", settings.model));
  }
  if (settings.served_model_name.empty()) settings.served_model_name = folder_name(settings.model);
  if (settings.replica_id.empty()) settings.replica_id = mesh::random_id(short_name(settings.served_model_name));
  return settings;
}

engine::EngineOptions engine_options(const WorkerSettings& settings) {
  return {.threads = static_cast<int>(settings.threads),
          .sequences_max = static_cast<int>(settings.max_num_seqs),
          .waiting_max = static_cast<int>(settings.max_num_waiting),
          .kv_blocks = settings.kv_blocks,
          .batch_tokens_max = static_cast<int>(settings.max_num_batched_tokens),
          .context_tokens_max = settings.max_model_len};
}

}  // namespace bellwether::worker
