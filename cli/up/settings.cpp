#include "cli/up/settings.h"

#include <cstddef>
#include <cstdlib>
#include <string_view>

namespace bellwether::cli {
namespace {

constexpr double kReplicasMax = 256;
constexpr double kRanksMax = 64;
constexpr double kThreadsMax = 1024;
constexpr double kSchedulersMax = 16;

}  // namespace

UpSettings::UpSettings() {
  common.nats_url.clear();
  common.http_address = "127.0.0.1:8000";
  common.log_level = "info";
  common.log_format = "json";
}

void UpSettings::declare(mesh::Settings& declared) {
  declared.add("model", &model, {.sentence = "Model directory; by default the demo model"});
  declared.add("replicas", &replicas,
               {.sentence = "Replicas, each serving the whole model", .min = 0, .max = kReplicasMax});
  declared.add("max-replicas", &replicas_max,
               {.sentence = "Lets the autoscaler add replicas up to this many; 0 = no more than --replicas",
                .min = 0,
                .max = kReplicasMax});
  declared.add("ranks", &ranks,
               {.sentence = "Processes of each replica, which share every layer's work; 1 = one computes all of it; 0 "
                            "takes 2, or as many as each replica has of the GPUs that --device names",
                .min = 0,
                .max = kRanksMax});
  declared.add("device", &devices,
               {.sentence = "What workers compute on, cpu or cuda:N; given several times, each process takes the next "
                            "of them"});
  declared.add("threads", &threads,
               {.sentence = "Threads of each rank; 0 shares the CPUs among them", .min = 0, .max = kThreadsMax});
  declared.add(
      "schedulers", &schedulers,
      {.sentence = "Schedulers; with two, requests go on at once when one dies", .min = 1, .max = kSchedulersMax});
  declared.add("log-folder", &log_folder,
               {.sentence = "Where each process writes its log; by default a fresh folder under $XDG_STATE_HOME, "
                            "$TMPDIR or /tmp"});
  declared.add("nats-port", &nats_port,
               {.sentence = "Port of the nats-server that is started; 0 = a free one", .min = 0, .max = 65535});
  declared.add("restarts-max", &restarts_max,
               {.sentence = "Times in a row that a process that died is started again; it has recovered when it lives "
                            "for a minute",
                .min = 0,
                .max = 1e9});
  declared.add("restart-wait-ms-max", &restart_wait_ms_max,
               {.sentence = "Longest wait before a process is started again; it doubles from 200 ms",
                .unit = "ms",
                .min = 200,
                .max = 3600000});
  declared.add("nats-url", &common.nats_url,
               {.sentence = "Uses the NATS server there and starts none", .shared = true});
  declared.add("nats-credentials-file", &common.nats_credentials_file,
               {.sentence = "NATS credentials (.creds) for --nats-url", .shared = true});
  declared.add("http", &common.http_address,
               {.sentence = "HOST:PORT of the API; port 0 takes a free one", .shared = true});
  declared.add("allow-remote", &common.allow_remote,
               {.sentence = "Lets --http be an address that other machines can reach", .shared = true});
  declared.add("api-keys-file", &api_keys_file,
               {.sentence = "YAML file of API keys, which clients then need; `bellwether key new` makes entries"});
  declared.add("allow-anonymous", &allow_anonymous,
               {.sentence = "With --allow-remote: serves other machines without API keys, too"});
  declared.add("log-level", &common.log_level,
               {.sentence = "Least level of the services' logs",
                .choices = {"debug", "info", "warning", "error"},
                .shared = true});
  declared.add(
      "shutdown-grace-ms", &common.shutdown_grace_ms,
      {.sentence = "Time for running requests after Ctrl-C", .unit = "ms", .min = 0, .max = 3600000, .shared = true});
}

std::string config_file(const std::vector<std::string>& arguments) {
  constexpr std::string_view kFlag = "--config";
  std::string file;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") break;
    if (argument == kFlag && i + 1 < arguments.size()) file = arguments[++i];
    if (argument.starts_with("--config=")) file = argument.substr(kFlag.size() + 1);
  }
  const char* variable = std::getenv("BELLWETHER_CONFIG");
  return file.empty() && variable != nullptr ? variable : file;
}

}  // namespace bellwether::cli
