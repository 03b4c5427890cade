#include "cli/status/status.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "cli/replica_book.h"
#include "cli/run_file.h"
#include "cli/status/table.h"
#include "cli/terminal.h"
#include "mesh/bus.h"
#include "mesh/clock.h"
#include "mesh/log.h"
#include "mesh/service.h"
#include "mesh/settings.h"
#include "mesh/subjects.h"

namespace bellwether::cli {
namespace {

namespace asio = boost::asio;

// Heads report every 250 ms: this is time for two reports of each, in case one is late.
constexpr std::chrono::milliseconds kListenTime{600};
constexpr std::chrono::milliseconds kWatchInterval{500};
constexpr int kNoReplica = 3;
constexpr const char* kDefaultNatsUrl = "nats://127.0.0.1:4222";

struct StatusSettings {
  bool json = false;
  bool watch = false;
};

void print_states(const std::vector<v1::ReplicaState>& states, const StatusSettings& settings) {
  std::string text;
  if (settings.json) {
    text = status_json(states);
  } else {
    if (settings.watch && inspect_terminal(STDOUT_FILENO).is_terminal) text = "\x1b[H\x1b[2J";
    text += states.empty() ? "No replica was heard.\n" : status_table(states);
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Returns the exit status.
asio::awaitable<int> show(mesh::Bus& bus, const StatusSettings& settings, const bool& interrupted) {
  ReplicaBook book;
  const mesh::Subscription subscription = bus.subscribe<v1::ReplicaState>(
      mesh::subjects::kAllReplicaStates,
      [&](const v1::ReplicaState& state, const mesh::BusMessage&) { book.hear(state, mesh::steady_now()); });
  asio::steady_timer timer(co_await asio::this_coro::executor, kListenTime);
  co_await timer.async_wait(asio::use_awaitable);
  print_states(book.states(), settings);
  while (settings.watch && !interrupted) {
    timer.expires_after(kWatchInterval);
    co_await timer.async_wait(asio::use_awaitable);
    book.forget_silent(mesh::steady_now());
    print_states(book.states(), settings);
  }
  co_return book.states().empty() ? kNoReplica : 0;
}

int listen(const mesh::BusOptions& options, const StatusSettings& settings) {
  asio::io_context io(1);
  mesh::Bus bus(io.get_executor(), options);
  bool interrupted = false;
  asio::signal_set signals(io, SIGINT, SIGTERM);
  if (settings.watch) signals.async_wait([&](boost::system::error_code error, int) { interrupted = !error; });
  int status = 1;
  std::exception_ptr failure;
  const auto run = [&]() -> asio::awaitable<void> {
    status = co_await show(bus, settings, interrupted);
    signals.cancel();
    co_await bus.stop();
  };
  asio::co_spawn(io, run, [&](std::exception_ptr error) {
    failure = error;
    signals.cancel();
  });
  io.run();
  if (failure) std::rethrow_exception(failure);
  return status;
}

}  // namespace

int run_status(int argc, char** argv) {
  StatusSettings settings;
  mesh::ServiceSettings common;
  common.nats_url.clear();
  mesh::Settings declared("bellwether status", "status", "Shows the replicas of a running mesh.");
  declared.add("json", &settings.json, {.sentence = "Prints JSON"});
  declared.add("watch", &settings.watch, {.sentence = "Goes on until Ctrl-C"});
  declared.add("nats-url", &common.nats_url,
               {.sentence = "Where NATS is; by default that of the running `bellwether up`, or nats://127.0.0.1:4222",
                .shared = true});
  declared.add("nats-credentials-file", &common.nats_credentials_file,
               {.sentence = "NATS credentials (.creds)", .shared = true});
  if (const auto status = declared.parse_main(argc, argv)) return *status;

  mesh::log::configure("status", mesh::log::Level::kError, mesh::log::Format::kAuto);
  mesh::BusOptions options;
  options.client_name = "bellwether status";
  options.credentials_file = common.nats_credentials_file;
  options.url = common.nats_url;
  if (options.url.empty()) {
    const auto mesh = find_running_mesh(default_run_folder());
    options.url = mesh ? mesh->nats_url : kDefaultNatsUrl;
  }
  return listen(options, settings);
}

}  // namespace bellwether::cli
