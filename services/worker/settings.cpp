#include "worker/settings.h"

#include <fmt/format.h>

#include <filesystem>

#include "engine/engine_options.h"
#include "mesh/address.h"
#include "mesh/ids.h"
#include "text/template_format.h"

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

constexpr double kRanksMax = 1024;
constexpr double kUtilizationMin = 0.01;
constexpr double kEchoRateMax = 1e9;

void declare_engine(mesh::Settings& declared, WorkerSettings& settings) {
  declared.add("engine", &settings.engine,
               {.sentence = "What makes the tokens: the model, or an echo of the prompt, to try and measure the mesh "
                            "without a model's work",
                .choices = {"model", "echo"}});
  declared.add("echo-tokens-per-s", &settings.echo_tokens_per_s,
               {.sentence = "Pace of --engine echo for each sequence; 0 = as fast as it goes",
                .unit = "tokens/s",
                .min = 0,
                .max = kEchoRateMax});
  declared.add("echo-prefill-tokens-per-s", &settings.echo_prefill_tokens_per_s,
               {.sentence = "Pace of --engine echo for prompts, all together; 0 = as fast as it goes",
                .unit = "tokens/s",
                .min = 0,
                .max = kEchoRateMax});
}

void declare_ranks(mesh::Settings& declared, WorkerSettings& settings) {
  declared.add("ranks", &settings.ranks,
               {.sentence = "Processes that compute this replica together, each a slice of every layer",
                .min = 1,
                .max = kRanksMax});
  declared.add("rank", &settings.rank,
               {.sentence = "Which of them this is; 0, the head, takes the requests", .min = 0, .max = kRanksMax - 1});
  declared.add("head", &settings.head,
               {.sentence = "HOST:PORT of the head's --grpc, for every rank but 0; ranks on several machines all "
                            "need --allow-remote"});
  declared.add("rank-stall-ms", &settings.rank_stall_ms,
               {.sentence = "A rank that keeps the others waiting for longer is taken as lost; the head's counts",
                .unit = "ms",
                .min = 50,
                .max = 600000});
}

void require_sound_ranks(const WorkerSettings& settings) {
  if (is_echo(settings) && settings.ranks > 1) refuse("--engine", "an echo has one rank: give --ranks 1");
  if (settings.rank >= settings.ranks) {
    refuse("--rank", fmt::format("{} is none of 0 to {}, which --ranks {} has", settings.rank, settings.ranks - 1,
                                 settings.ranks));
  }
  if (settings.rank == 0 && !settings.head.empty()) refuse("--head", "is for the ranks that follow it, not for rank 0");
  if (settings.rank == 0) return;
  if (settings.head.empty()) refuse("--head", "give HOST:PORT of the head's --grpc");
  try {
    static_cast<void>(mesh::parse_address(settings.head));
  } catch (const mesh::Error& error) {
    refuse("--head", error.what());
  }
}

}  // namespace

void declare(mesh::Settings& declared, WorkerSettings& settings) {
  declared.add("model", &settings.model, {.sentence = "Folder of the model: config.json, tokenizer and weights"});
  declared.add("served-model-name", &settings.served_model_name,
               {.sentence = "Name that clients use for the model; empty takes the folder's name"});
  declared.add("replica-id", &settings.replica_id,
               {.sentence = "Name of this replica, unique in the mesh; empty makes one up"});
  declare_engine(declared, settings);
  declared.add("device", &settings.device,
               {.sentence = "What computes: cpu, or cuda:N for the GPU that CUDA numbers so, if built with CUDA"});
  declared.add("gpu-memory-utilization", &settings.gpu_memory_utilization,
               {.sentence = "Part of a GPU's memory that this process takes: what weights and workspace leave of it is "
                            "KV cache. Ranks that share a GPU share it",
                .min = kUtilizationMin,
                .max = 1});
  declared.add("deterministic", &settings.deterministic,
               {.sentence = "On a GPU, the same answer whatever else is computed beside it; --no-deterministic is some "
                            "percent faster. On a CPU it always is the same"});
  declared.add("load-format", &settings.load_format,
               {.sentence = "Where weights come from; synthetic needs config.json only and makes the weights up",
                .choices = {"auto", "safetensors", "synthetic"}});
  declared.add("chat-format", &settings.chat_format,
               {.sentence = "How messages become a prompt; auto is the built-in format that does what the model's own "
                            "chat template does, else the template",
                .choices = text::chat_format_choices()});
  declared.add(
      "threads", &settings.threads,
      {.sentence = "Computing threads; 0 takes one for each CPU this process may run on", .min = 0, .max = 1024});
  declared.add("max-num-seqs", &settings.max_num_seqs,
               {.sentence = "Sequences computed at once", .min = 1, .max = 4096});
  declared.add("max-num-waiting", &settings.max_num_waiting,
               {.sentence = "Sequences that may wait beyond those; more are refused", .min = 0, .max = 65536});
  declared.add(
      "kv-blocks", &settings.kv_blocks,
      {.sentence = "Size of the KV cache; 0 takes what --gpu-memory-utilization leaves on a GPU, on a CPU what two "
                   "sequences of full length need, at least 512",
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
  declared.add("draft-tokens", &settings.draft_tokens,
               {.sentence = "Guessed ahead for each sequence in a step, where the model has a draft layer",
                .unit = "tokens",
                .min = 0,
                .max = 4});
  declare_ranks(declared, settings);
}

WorkerSettings resolve(WorkerSettings settings) {
  if (settings.model.empty()) {
    refuse("--model", "give the folder of a model, for example --model models/bellwether-nano");
  }
  std::error_code error;
  if (!std::filesystem::is_directory(settings.model, error)) {
    refuse("--model", fmt::format("'{}' is not a folder", settings.model));
  }
  try {
    (void)engine::gpu_of(settings.device);
  } catch (const engine::ConfigError& error) {
    refuse("--device", error.what());
  }
  require_sound_ranks(settings);
  if (settings.served_model_name.empty()) settings.served_model_name = folder_name(settings.model);
  if (settings.replica_id.empty()) settings.replica_id = mesh::random_id(short_name(settings.served_model_name));
  return settings;
}

engine::EngineOptions engine_options(const WorkerSettings& settings) {
  return {.gpu = engine::gpu_of(settings.device),
          .deterministic = settings.deterministic,
          .gpu_memory_utilization = settings.gpu_memory_utilization,
          .threads = static_cast<int>(settings.threads),
          .sequences_max = static_cast<int>(settings.max_num_seqs),
          .waiting_max = static_cast<int>(settings.max_num_waiting),
          .kv_blocks = settings.kv_blocks,
          .batch_tokens_max = static_cast<int>(settings.max_num_batched_tokens),
          .context_tokens_max = settings.max_model_len,
          .draft_tokens = static_cast<int>(settings.draft_tokens),
          .ranks = static_cast<int>(settings.ranks),
          .rank = static_cast<int>(settings.rank)};
}

}  // namespace bellwether::worker
