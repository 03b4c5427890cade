// Tokens per second of one stream through the whole mesh, beside the engine alone and a bare echo on the bus.
//
//   bench_mesh [tokens] [arguments of `bellwether up`]
//
// The engine alone has the whole machine, in the mesh it shares it with the services, the nats-server and this client:
// what each of them spends on a token is printed, too, and tells where time goes on a machine that others use as well.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <fstream>
#include <future>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "bellwether/v1/generate.pb.h"
#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "engine/engine.h"
#include "mesh/bus.h"

namespace bellwether {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kTokensPerSecondAsked = 1500;  // of one stream of the demo model
constexpr int kRounds = 3;                      // the best counts

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::vector<int32_t> prompt() {
  std::vector<int32_t> ids = {0};
  for (int32_t i = 1; i < 32; ++i) ids.push_back(5 + i * 37 % 2000);
  return ids;
}

// From the first token to the last, as for the stream.
double engine_alone(int64_t tokens) {
  const auto engine = engine::Engine::load(BELLWETHER_SOURCE_DIR "/models/bellwether-nano", {.draft_tokens = 1});
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    if (engine->admit({.id = static_cast<engine::SequenceId>(round),
                       .prompt_ids = prompt(),
                       .sampling = {.temperature = 0},
                       .max_tokens = tokens}) != engine::Admission::kAdmitted) {
      throw std::runtime_error("the engine does not take the request");
    }
    int64_t made = 0;
    Clock::time_point begin;
    while (engine->has_work()) {
      const engine::StepReport report = engine->step();
      for (const auto& output : report.outputs) {
        if (made == 0 && !output.ids.empty()) begin = Clock::now();
        made += static_cast<int64_t>(output.ids.size());
      }
    }
    best = std::max(best, static_cast<double>(made - 1) / seconds_since(begin));
  }
  return best;
}

struct StreamFigures {
  double first_token_ms = 0;
  double tokens_per_s = 0;
};

StreamFigures stream(const std::string& url, int64_t tokens) {
  boost::json::array ids;
  for (const int32_t id : prompt()) ids.emplace_back(id);
  const std::string body =
      boost::json::serialize(boost::json::object{{"model", "bellwether-nano"},
                                                 {"prompt", std::move(ids)},
                                                 {"max_tokens", tokens},
                                                 {"temperature", 0},
                                                 {"ignore_eos", true},
                                                 {"stream", true},
                                                 {"stream_options", boost::json::object{{"include_usage", true}}}});
  const auto begin = Clock::now();
  Clock::time_point first;
  const e2e::StreamedReply reply =
      e2e::http_stream(url + "/v1/completions", body, [&](const e2e::StreamedReply& so_far) {
        if (so_far.text_events == 1) first = Clock::now();
        return true;
      });
  if (!reply.done || !reply.usage) throw std::runtime_error("the stream broke: " + reply.error);
  const auto made = reply.usage->at("completion_tokens").to_number<double>();
  return {.first_token_ms = std::chrono::duration<double, std::milli>(first - begin).count(),
          .tokens_per_s = (made - 1) / seconds_since(first)};
}

// Seconds of CPU time so far, by program.
std::map<std::string, double> cpu_seconds(pid_t root) {
  std::map<std::string, double> seconds;
  const auto ticks_per_s = static_cast<double>(::sysconf(_SC_CLK_TCK));
  for (const pid_t pid : e2e::descendants_of(root)) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string stat;
    std::getline(file, stat);
    const size_t name_end = stat.rfind(')');  // proc(5): pid (name) state ppid ..., utime and stime are 14th and 15th
    const size_t name_begin = stat.find('(');
    if (name_end == std::string::npos || name_begin == std::string::npos) continue;
    std::istringstream fields(stat.substr(name_end + 1));
    std::string skipped;
    for (int i = 3; i < 14; ++i) fields >> skipped;
    double user = 0;
    double system = 0;
    fields >> user >> system;
    seconds[stat.substr(name_begin + 1, name_end - name_begin - 1)] += (user + system) / ticks_per_s;
  }
  return seconds;
}

void print_cpu_times(const std::map<std::string, double>& before, const std::map<std::string, double>& after,
                     double tokens) {
  for (const auto& [program, seconds] : after) {
    const auto found = before.find(program);
    const double spent = seconds - (found == before.end() ? 0 : found->second);
    fmt::print("  CPU time of {:<16}  {:8.0f} us/token\n", program, 1e6 * spent / tokens);
  }
}

StreamFigures through_the_mesh(const std::string& url, int64_t tokens) {
  StreamFigures best;
  for (int round = 0; round < kRounds; ++round) {
    const StreamFigures figures = stream(url, tokens);
    if (figures.tokens_per_s > best.tokens_per_s) best = figures;
  }
  return best;
}

boost::asio::awaitable<void> ask(mesh::Bus& bus, int times) {
  v1::CancelRequest message;
  message.set_request_id(std::string(100, 'x'));
  for (int i = 0; i < times; ++i) {
    (void)co_await bus.request<v1::CancelRequest>("bench.echo", message, std::chrono::seconds(5));
  }
}

// Requests answered per second, one after the other, between two connections of their own.
double echo(const std::string& nats_url) {
  constexpr int kTimes = 5000;
  boost::asio::io_context io;
  auto work = boost::asio::make_work_guard(io);
  std::jthread thread([&] { io.run(); });
  double rate = 0;
  {
    mesh::BusOptions options;
    options.url = nats_url;
    mesh::Bus asking(io.get_executor(), options);
    mesh::Bus answering(io.get_executor(), options);
    const auto subscription = answering.subscribe<v1::CancelRequest>(
        "bench.echo",
        [&](const v1::CancelRequest& message, const mesh::BusMessage& raw) { answering.respond(raw, message); });
    boost::asio::co_spawn(io, answering.flush(std::chrono::seconds(5)), boost::asio::use_future).get();
    boost::asio::co_spawn(io, ask(asking, kTimes / 10), boost::asio::use_future).get();
    const auto begin = Clock::now();
    boost::asio::co_spawn(io, ask(asking, kTimes), boost::asio::use_future).get();
    rate = kTimes / seconds_since(begin);
  }
  work.reset();
  return rate;
}

std::string nats_url_in(const std::string& output) {
  const size_t begin = output.find("nats://");
  if (begin == std::string::npos) throw std::runtime_error("`up` does not say where the bus is:\n" + output);
  return output.substr(begin, output.find_first_of(" \n", begin) - begin);
}

void run(int64_t tokens, const std::vector<std::string>& arguments) {
  const double alone = engine_alone(tokens);
  fmt::print("engine alone, one sequence    {:8.0f} tokens/s\n", alone);
  e2e::MeshProcess mesh(arguments);
  fmt::print("echo on the bus, one by one   {:8.0f} /s\n", echo(nats_url_in(mesh.up().output())));
  const auto before = cpu_seconds(mesh.up().pid());
  const StreamFigures figures = through_the_mesh(mesh.url(), tokens);
  const auto after = cpu_seconds(mesh.up().pid());
  fmt::print("one stream through the mesh   {:8.0f} tokens/s, {:.0f} % of the engine alone; asked for: {:.0f}\n",
             figures.tokens_per_s, 100 * figures.tokens_per_s / alone, kTokensPerSecondAsked);
  fmt::print("its first token after         {:8.1f} ms\n", figures.first_token_ms);
  print_cpu_times(before, after, static_cast<double>(kRounds * tokens));
}

}  // namespace
}  // namespace bellwether

int main(int argc, char** argv) {
  try {
    const int64_t tokens = argc > 1 ? std::stoll(argv[1]) : 2000;
    bellwether::run(tokens, {argv + std::min(argc, 2), argv + argc});
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_mesh: {}\n", error.what());
    return 1;
  }
}
