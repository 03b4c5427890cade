// A worker for tests: announces itself on the bus as told and ends on SIGTERM.
//   --nats-url URL --replica-id ID --served-model-name NAME, from the supervisor
//   --kv-use SHARE    the KV-cache use it announces
//   --exit STATUS     ends at once with this status
//   --mute            announces nothing
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "bellwether/v1/mesh.pb.h"
#include "mesh/bus.h"
#include "mesh/subjects.h"

int main(int argc, char** argv) {
  using namespace bellwether;
  std::map<std::string, std::string> flags;
  for (int i = 1; i + 1 < argc; i += 2) flags[argv[i]] = argv[i + 1];
  if (flags.contains("--exit")) return std::stoi(flags["--exit"]);

  boost::asio::io_context io;
  boost::asio::signal_set signals(io, SIGTERM);
  signals.async_wait([](const boost::system::error_code&, int) { std::_Exit(0); });
  if (flags.contains("--mute")) {
    io.run();
    return 0;
  }

  mesh::BusOptions options;
  options.url = flags["--nats-url"];
  mesh::Bus bus(io.get_executor(), options);
  v1::ReplicaState state;
  state.set_replica_id(flags["--replica-id"]);
  state.set_epoch(1);
  state.set_model(flags["--served-model-name"]);
  state.set_version(std::to_string(getpid()));  // for the test to kill
  state.set_phase(v1::REPLICA_PHASE_READY);
  state.mutable_capacity()->set_kv_blocks_total(1000);
  state.mutable_load()->set_kv_blocks_used(static_cast<uint32_t>(1000 * std::stod("0" + flags["--kv-use"])));
  boost::asio::steady_timer timer(io);
  const std::function<void()> beat = [&] {
    state.set_sequence(state.sequence() + 1);
    bus.publish(mesh::subjects::replica_state(state.replica_id()), state);
    timer.expires_after(std::chrono::milliseconds(100));
    timer.async_wait([&](const boost::system::error_code&) { beat(); });
  };
  beat();
  io.run();
}
