// What the mesh itself costs: the gateway over HTTP, with a real worker whose engine is an echo, beside a server that
// does nothing but answer.
//
//   bench_gateway [first-token | throughput | streams | tokenizer]...     all of them by default
//
// Client, gateway, nats-server, scheduler and worker share this machine's cores.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bare_server.h"
#include "e2e/mesh_process.h"
#include "load_client.h"
#include "text/synthetic_language.h"
#include "text/tokenizer.h"

namespace bellwether::bench {
namespace {

using std::chrono::seconds;

constexpr const char* kEvent =
    R"(data: {"id":"cmpl-req-0123456789abcdef","object":"text_completion","created":1700000000,"model":"bellwether-nano",)"
    R"("choices":[{"index":0,"text":" word","logprobs":null,"finish_reason":null}]})"
    "\n\n";

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Ids, so that the echo has no begin-of-sentence token in it, which makes no text and so no event.
std::string ids_of(const std::string& text) {
  const auto model =
      text::Tokenizer::from_json(read_file(BELLWETHER_SOURCE_DIR "/models/bellwether-nano/tokenizer.json"));
  return fmt::format("[{}]", fmt::join(model.encode(text), ","));
}

// `prompt` is JSON.
std::string request_of(const std::string& prompt, int max_tokens) {
  const std::string body = fmt::format(
      R"({{"model":"bellwether-nano","prompt":{},"max_tokens":{},"ignore_eos":true,"temperature":0,"stream":true}})",
      prompt, max_tokens);
  return fmt::format(
      "POST /v1/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
      body.size(), body);
}

std::string address_of(const e2e::MeshProcess& mesh) {
  return mesh.url().substr(std::string("http://").size());
}

e2e::MeshProcess echo_mesh(std::vector<std::string> environment) {
  environment.emplace_back("BELLWETHER_WORKER_ENGINE=echo");
  environment.emplace_back("BELLWETHER_WORKER_MAX_NUM_SEQS=4096");
  environment.emplace_back("BELLWETHER_WORKER_MAX_NUM_BATCHED_TOKENS=32768");
  environment.emplace_back("BELLWETHER_WORKER_KV_BLOCKS=32768");
  return e2e::MeshProcess({"--ranks", "1"}, std::move(environment));
}

double cpu_seconds_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string stat;
  std::getline(file, stat);
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));  // proc(5): utime and stime are the 14th and 15th field
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double resident_kib_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6));
  }
  throw std::runtime_error("the gateway is gone");
}

void require_no_failure(const LoadResult& result) {
  if (result.failed == 0) return;
  throw std::runtime_error(fmt::format("{} requests failed; the first: {}", result.failed, result.first_failure));
}

void print_row(const char* what, double value, const char* unit, double limit, bool at_least) {
  const bool met = at_least ? value >= limit : value <= limit;
  fmt::print("  {:<44} {:>10.2f} {:<9} {} {:<8g} {}\n", what, value, unit, at_least ? ">=" : "<=", limit,
             met ? "met" : "MISSED");
}

// 200 requests a second, each for one token of a short prompt.
void first_token() {
  constexpr double kRate = 200;
  constexpr int64_t kRequests = 3000;
  const std::string request = request_of(R"("The quick brown fox jumps over the lazy dog and then it rests.")", 1);
  LoadPlan plan{.address = {},
                .request = request,
                .requests = kRequests,
                .requests_per_s = kRate,
                .time_max = seconds(kRequests / 200 + 20)};
  LoadResult bare;
  {
    const BareServer server(1, kEvent);
    plan.address = server.address();
    bare = run_load(plan);
  }
  e2e::MeshProcess mesh =
      echo_mesh({"BELLWETHER_WORKER_ECHO_TOKENS_PER_S=0", "BELLWETHER_WORKER_ECHO_PREFILL_TOKENS_PER_S=0"});
  plan.address = address_of(mesh);
  LoadPlan warm_up = plan;
  warm_up.requests = 200;
  require_no_failure(run_load(warm_up));
  const double cpu_before = cpu_seconds_of(mesh.pid_of("api-gateway"));
  const LoadResult through = run_load(plan);
  const double cpu = cpu_seconds_of(mesh.pid_of("api-gateway")) - cpu_before;
  require_no_failure(bare);
  require_no_failure(through);
  fmt::print("time to first token, {} requests/s\n", kRate);
  for (const double quantile : {0.5, 0.9, 0.99}) {
    fmt::print("  p{:<4} bare server {:8.3f} ms   mesh {:8.3f} ms\n", quantile * 100, bare.first_event_ms_at(quantile),
               through.first_event_ms_at(quantile));
  }
  print_row("added, median", through.first_event_ms_at(0.5) - bare.first_event_ms_at(0.5), "ms", 1, false);
  print_row("added, p99", through.first_event_ms_at(0.99) - bare.first_event_ms_at(0.99), "ms", 5, false);
  fmt::print("  gateway's CPU time for a request             {:10.0f} us\n", 1e6 * cpu / kRequests);
}

// More tokens than asked for are on offer, in equal streams.
void throughput() {
  constexpr int64_t kStreams = 256;
  constexpr int kTokens = 3000;
  constexpr double kOffered = 70000;
  const std::string request = request_of(ids_of(" one two three four five six seven eight nine ten"), kTokens);
  LoadPlan plan{.address = {}, .request = request, .requests = kStreams, .requests_per_s = 0, .time_max = seconds(120)};
  LoadResult bare;
  double bare_cpu = 0;
  {
    const BareServer server(kTokens, kEvent);
    plan.address = server.address();
    bare = run_load(plan);
    bare_cpu = cpu_seconds_of(server.pid());
  }
  e2e::MeshProcess mesh =
      echo_mesh({fmt::format("BELLWETHER_WORKER_ECHO_TOKENS_PER_S={}", kOffered / static_cast<double>(kStreams)),
                 "BELLWETHER_WORKER_ECHO_PREFILL_TOKENS_PER_S=0"});
  plan.address = address_of(mesh);
  const std::vector<std::string> services = {"api-gateway", "worker-1", "nats-server"};
  std::vector<double> before;
  for (const std::string& service : services) before.push_back(cpu_seconds_of(mesh.pid_of(service)));
  const LoadResult through = run_load(plan);
  require_no_failure(bare);
  require_no_failure(through);
  const double tokens = static_cast<double>(kStreams) * kTokens;
  fmt::print("streamed tokens, {} streams, {} tokens/s on offer\n", kStreams, kOffered);
  fmt::print("  bare server                                  {:10.0f} events/s, {:.2f} us of its CPU each\n",
             static_cast<double>(bare.events) / bare.seconds, 1e6 * bare_cpu / tokens);
  print_row("mesh", static_cast<double>(through.events) / through.seconds, "events/s", 60000, true);
  print_row("events for each token", static_cast<double>(through.events) / tokens, "", 0.99, true);
  for (size_t i = 0; i < services.size(); ++i) {
    fmt::print("  CPU time of {:<32} {:10.2f} us/token\n", services[i],
               1e6 * (cpu_seconds_of(mesh.pid_of(services[i])) - before[i]) / tokens);
  }
}

// Many slow streams at once.
void streams() {
  constexpr int64_t kStreams = 2000;
  constexpr int kTokens = 100;
  const std::string request = request_of(ids_of(" one two three four five six seven eight nine ten"), kTokens);
  e2e::MeshProcess mesh =
      echo_mesh({"BELLWETHER_WORKER_ECHO_TOKENS_PER_S=10", "BELLWETHER_WORKER_ECHO_PREFILL_TOKENS_PER_S=0"});
  const pid_t gateway = mesh.pid_of("api-gateway");
  LoadPlan plan{.address = address_of(mesh),
                .request = request,
                .requests = kStreams,
                .requests_per_s = 0,
                .time_max = seconds(120)};
  struct Memory {
    pid_t pid;
    double kib;
  } memory{gateway, 0};
  const double before = resident_kib_of(gateway);
  const LoadResult result = run_load(
      plan,
      [](void* context) {
        auto& at_full = *static_cast<Memory*>(context);
        at_full.kib = resident_kib_of(at_full.pid);
      },
      &memory);
  const double after = resident_kib_of(gateway);
  fmt::print("{} streams at once, {} tokens each\n", kStreams, kTokens);
  print_row("streams that ran at the same time", static_cast<double>(result.running_max), "", kStreams, true);
  print_row("failed", static_cast<double>(result.failed), "", 0, false);
  if (result.failed > 0) fmt::print("  the first failure: {}\n", result.first_failure);
  print_row("gateway's memory for a stream", (std::max(after, memory.kib) - before) / static_cast<double>(kStreams),
            "KiB", 100, false);
}

// With a tokenizer of DeepSeek-R1's size.
void tokenizer() {
  const text::SyntheticLanguage language(90'000, 1);
  const text::Tokenizer tokens = text::Tokenizer::from_json(language.tokenizer_json(128'000));
  std::string prompt = language.text(1 << 20, 2);
  const size_t bytes_per_token = prompt.size() / tokens.encode(prompt).size();
  prompt.resize(prompt.rfind(' ', bytes_per_token * 100'000));
  double best = 0;
  size_t count = 0;
  for (int round = 0; round < 5; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    count = tokens.encode(prompt).size();
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, static_cast<double>(prompt.size()) / took / 1e6);
  }
  fmt::print("a prompt of {} tokens, {:.2f} MB\n", count, static_cast<double>(prompt.size()) / 1e6);
  print_row("tokenized", best, "MB/s", 5, true);
}

void run(const std::set<std::string>& wanted) {
  const auto wants = [&](const char* name) { return wanted.empty() || wanted.contains(name); };
  if (wants("first-token")) first_token();
  if (wants("throughput")) throughput();
  if (wants("streams")) streams();
  if (wants("tokenizer")) tokenizer();
}

}  // namespace
}  // namespace bellwether::bench

int main(int argc, char** argv) {
  try {
    bellwether::bench::run({argv + 1, argv + argc});
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_gateway: {}\n", error.what());
    return 1;
  }
}
