#include "cli/drain/drain.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "bellwether/v1/mesh.pb.h"
#include "cli/run_file.h"
#include "mesh/bus.h"
#include "mesh/error.h"
#include "mesh/log.h"
#include "mesh/settings.h"
#include "mesh/subjects.h"

namespace bellwether::cli {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::milliseconds kAnswerTimeMax{2000};
constexpr const char* kDefaultNatsUrl = "nats://127.0.0.1:4222";

struct DrainSettings {
  std::string replica_id;
  int64_t limit_ms = 0;
};

asio::awaitable<v1::DrainReply> ask(mesh::Bus& bus, const DrainSettings& settings) {
  v1::DrainRequest request;
  request.set_limit_ms(static_cast<uint32_t>(settings.limit_ms));
  std::string subject = mesh::subjects::replica_drain(settings.replica_id);
  co_return co_await bus.request<v1::DrainReply>(std::move(subject), request, kAnswerTimeMax);
}

int drain(const mesh::BusOptions& options, const DrainSettings& settings) {
  asio::io_context io(1);
  mesh::Bus bus(io.get_executor(), options);
  std::string failure;
  v1::DrainReply reply;
  const auto run = [&]() -> asio::awaitable<void> {
    try {
      reply = co_await ask(bus, settings);
    } catch (const mesh::Error& error) {
      failure = error.what();
    }
    co_await bus.stop();
  };
  asio::co_spawn(io, run, asio::detached);
  io.run();
  if (!failure.empty()) {
    fmt::print(stderr, "bellwether drain: {} does not answer ({}); `bellwether status` shows the replicas\n",
               settings.replica_id, failure);
    return 1;
  }
  fmt::print("{} takes no new work; it finishes {} requests within {} s, hands over the rest, and goes\n",
             settings.replica_id, reply.requests(), static_cast<double>(reply.limit_ms()) / 1000);
  return 0;
}

}  // namespace

int run_drain(int argc, char** argv) {
  DrainSettings settings;
  mesh::BusOptions options;
  options.client_name = "bellwether drain";
  options.url.clear();
  mesh::Settings declared("bellwether drain", "drain",
                          "Has a replica take no new work, finish what it has, hand over the rest, and end.");
  declared.add_positional("replica", &settings.replica_id, "Its id, as `bellwether status` shows it", true);
  declared.add("limit-ms", &settings.limit_ms,
               {.sentence = "Time for what it has; at most, and by default, the worker's --shutdown-grace-ms",
                .unit = "ms",
                .min = 0,
                .max = 3600000});
  declared.add("nats-url", &options.url,
               {.sentence = "Where NATS is; by default that of the running `bellwether up`, or nats://127.0.0.1:4222",
                .shared = true});
  declared.add("nats-credentials-file", &options.credentials_file,
               {.sentence = "NATS credentials (.creds)", .shared = true});
  if (const auto status = declared.parse_main(argc, argv)) return *status;
  mesh::log::configure("drain", mesh::log::Level::kError, mesh::log::Format::kAuto);
  if (options.url.empty()) {
    const auto mesh = find_running_mesh(default_run_folder());
    options.url = mesh ? mesh->nats_url : kDefaultNatsUrl;
  }
  return drain(options, settings);
}

}  // namespace bellwether::cli
