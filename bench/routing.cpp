// How the routing strategies do in a simulated mesh, and how long one placement takes.
//
//   bench_routing [LOAD | scale | placement]... [--strategies A,B] [--replicas N] [--schedulers N] [--seed N]
//
// Without arguments all of it: every load with every strategy on 8 replicas, the first load on 2 to 512 replicas, and
// placements among 512 heads with 1,000,000 blocks in the index. What is simulated, and what is real: simulated_mesh.h.
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <limits>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/kv_blocks.h"
#include "mesh/clock.h"
#include "routing_load.h"
#include "scheduler/placement.h"
#include "scheduler/placer.h"

namespace bellwether::bench {
namespace {

// The engine of a replica is as R1's on 16 GPUs of 80 GB might be: 28 GB for the cache on each, of 70 KB a token.
const std::vector<Load>& loads() {
  static const std::vector<Load> all = {
      {.name = "tenants",
       .description = "150 tenants with system prompts of 6,000 tokens, asked for alike",
       .requests_per_s = 1.5,
       .requests = 500,
       .prefixes = 150,
       .prefix_tokens = 6000,
       .prompt = {.mean = 120, .sigma = 0.8},
       .answer = {.mean = 250, .sigma = 0.8, .max = 2000}},
      {.name = "popular",
       .description = "the same tenants, number k as often as 1/k",
       .requests_per_s = 1.5,
       .requests = 500,
       .prefixes = 150,
       .prefix_tokens = 6000,
       .popularity = 1,
       .prompt = {.mean = 120, .sigma = 0.8},
       .answer = {.mean = 250, .sigma = 0.8, .max = 2000}},
      {.name = "unshared",
       .description = "no shared beginnings: prompts of 2,000 tokens on average",
       .requests_per_s = 2,
       .requests = 500,
       .prompt = {.mean = 2000, .sigma = 1},
       .answer = {.mean = 300, .sigma = 0.8, .max = 2000}},
      {.name = "conversations",
       .description = "conversations of 6 turns on average, 20 s between them; the first prompt has 3,000 tokens",
       .requests_per_s = 1.5,
       .requests = 80,
       .prompt = {.mean = 3000, .sigma = 1},
       .answer = {.mean = 350, .sigma = 0.8, .max = 2000},
       .turns = 6,
       .question = {.mean = 300, .sigma = 1},
       .pause_s = 20},
      {.name = "bursts",
       .description = "32 requests at once with a new common prompt of 4,000 tokens and questions of their own",
       .requests_per_s = 2,
       .requests = 512,
       .prompt = {.mean = 4000, .sigma = 0.5},
       .answer = {.mean = 200, .sigma = 0.8, .max = 2000},
       .question = {.mean = 100, .sigma = 0.5},
       .burst = 32},
  };
  return all;
}

struct Arguments {
  std::vector<std::string> what;
  std::vector<std::string> strategies = scheduler::strategy_names();
  MeshOptions mesh;
};

void print_head(const Load& load, const MeshOptions& mesh) {
  fmt::print(
      "\n{}: {}\n  {} replicas{}, {} scheduler{}, {:.2f} requests/s for each replica, {} requests, seed {}\n"
      "  {:<17} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>6} {:>9} {:>8}\n",
      load.name, load.description, mesh.replicas,
      mesh.slow_replicas > 0 ? fmt::format(" ({} of them at half speed)", mesh.slow_replicas) : "", mesh.schedulers,
      mesh.schedulers == 1 ? "" : "s", load.requests_per_s, load.requests * mesh.replicas, mesh.seed, "strategy",
      "first ms", "p90", "p99", "token ms", "p90", "tokens/s", "hits", "imbalance", "refusals");
}

void run(const Load& load, MeshOptions mesh, const std::string& strategy) {
  mesh.strategy = strategy;
  const LoadFigures figures = run_load(load, mesh);
  const auto ms = [](const std::vector<double>& seconds, double part) { return 1000 * percentile(seconds, part); };
  fmt::print("  {:<17} {:>8.0f} {:>8.0f} {:>8.0f} {:>9.1f} {:>9.1f} {:>9.0f} {:>6.3f} {:>9.2f} {:>8}\n", strategy,
             ms(figures.first_token_s, 0.5), ms(figures.first_token_s, 0.9), ms(figures.first_token_s, 0.99),
             ms(figures.token_s, 0.5), ms(figures.token_s, 0.9), figures.output_tokens_per_s, figures.hit_rate,
             figures.imbalance, figures.refusals);
  std::fflush(stdout);
}

void run_scale(const Arguments& arguments) {
  Load load = loads().front();
  load.requests = 100;
  for (const size_t replicas : {2, 8, 32, 128, 512}) {
    MeshOptions mesh = arguments.mesh;
    mesh.replicas = replicas;
    print_head(load, mesh);
    for (const char* strategy : {"prefix-cache", "least-request"}) run(load, mesh, strategy);
  }
}

// Of one placement, as a scheduler does it: the names of the prompt's blocks, then the choice, the reservation and the
// event that tells the others.
void run_placements() {
  constexpr size_t kReplicas = 512;
  constexpr size_t kBlocks = 1'000'000;
  constexpr size_t kPrefixBlocks = 94;
  constexpr size_t kPlacements = 20000;
  scheduler::Placer placer({.scheduler_id = "self"}, mesh::steady_now);
  v1::ReplicaState state;
  state.set_model("m");
  state.set_epoch(1);
  state.set_phase(v1::REPLICA_PHASE_READY);
  state.mutable_capacity()->set_sequences_max(128);
  state.mutable_capacity()->set_waiting_max(1 << 20);
  std::mt19937_64 random(1);
  const auto beat = [&](size_t replica) {
    state.set_replica_id(fmt::format("replica-{:03}", replica));
    state.set_sequence(state.sequence() + 1);
    state.mutable_load()->set_running(static_cast<uint32_t>(random() % 64));
    state.mutable_rates()->set_prefill_tokens_per_busy_s(9000 + static_cast<double>(random() % 2000));
    state.mutable_rates()->set_decode_tokens_per_busy_s(1500 + static_cast<double>(random() % 500));
    static_cast<void>(placer.apply(state));
  };
  for (size_t i = 0; i < kReplicas; ++i) {
    beat(i);
    static_cast<void>(placer.begin_dump(state.replica_id()));
    v1::KvDumpChunk chunk;
    chunk.set_replica_id(state.replica_id());
    chunk.set_epoch(1);
    chunk.set_snapshot(1);
    static_cast<void>(placer.apply(state.replica_id(), chunk));
  }
  // Prompts that 1 to 8 heads have in their caches, as many as it takes.
  std::vector<std::vector<uint32_t>> prompts;
  std::vector<uint64_t> numbers(kReplicas, 1);
  while (placer.kv().index().blocks() < kBlocks) {
    std::vector<uint32_t>& prompt = prompts.emplace_back();
    for (size_t i = 0; i < kPrefixBlocks * engine::kBlockTokens; ++i)
      prompt.push_back(static_cast<uint32_t>(random() % 100000));
    v1::GenerateRequest request;
    request.mutable_prompt_ids()->Assign(prompt.begin(), prompt.end());
    const scheduler::Candidate candidate = scheduler::candidate_of(request);
    const size_t holders = 1 + random() % 8;
    for (size_t i = 0; i < holders; ++i) {
      const size_t replica = random() % kReplicas;
      v1::KvEvents events;
      events.set_replica_id(fmt::format("replica-{:03}", replica));
      events.set_epoch(1);
      events.set_first_number(numbers[replica]++);
      auto& hashes = *events.add_events()->mutable_stored()->mutable_block_hashes();
      hashes.Assign(candidate.block_hashes.begin(), candidate.block_hashes.end());
      placer.apply(events);
    }
  }
  const scheduler::KvIndex& index = placer.kv().index();
  fmt::print(
      "\nplacement: {} heads, {} blocks in the index, {:.1f} bytes each; prompts of {} tokens and a question of 120\n",
      kReplicas, index.blocks(), static_cast<double>(index.bytes()) / static_cast<double>(index.blocks()),
      kPrefixBlocks * engine::kBlockTokens);
  fmt::print("  {:<17} {:>10} {:>8} {:>8} {:>8}\n", "strategy", "names us", "in all", "p99", "most");
  for (const std::string& name : scheduler::strategy_names()) {
    std::vector<double> naming;
    std::vector<double> all;
    for (size_t i = 0; i < kPlacements; ++i) {
      // Heads beat every 250 ms; here all the time, so that none counts as gone and caches are as cold as in service.
      for (size_t k = 0; k < 4; ++k) beat(random() % kReplicas);
      if (i % 1000 == 0) {
        for (size_t k = 0; k < kReplicas; ++k) beat(k);
        static_cast<void>(placer.maintain());
      }
      v1::GenerateRequest request;
      request.set_request_id(fmt::format("{}-{}", name, i));
      request.set_attempt(1);
      request.set_model("m");
      request.set_max_tokens(1024);
      request.set_tenant(fmt::format("tenant-{}", i % 150));
      const auto& prompt = prompts[random() % prompts.size()];
      request.mutable_prompt_ids()->Assign(prompt.begin(), prompt.end());
      for (int k = 0; k < 120; ++k) request.add_prompt_ids(static_cast<uint32_t>(random() % 100000));
      const auto begin = mesh::steady_now();
      const scheduler::Candidate candidate = scheduler::candidate_of(request);
      const auto named = mesh::steady_now();
      const auto placed = placer.place(candidate, *scheduler::find_strategy(name), {});
      if (!placed) throw std::runtime_error("no head takes a request");
      const v1::Dispatch event = placer.reservation(candidate, *placed);
      const auto end = mesh::steady_now();
      naming.push_back(std::chrono::duration<double, std::micro>(named - begin).count());
      all.push_back(std::chrono::duration<double, std::micro>(end - begin).count());
      placer.release(candidate.key, placed->replica_id);
    }
    fmt::print("  {:<17} {:>10.1f} {:>8.1f} {:>8.1f} {:>8.1f}\n", name, percentile(naming, 0.5), percentile(all, 0.5),
               percentile(all, 0.99), percentile(all, 1));
  }
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (!argument.starts_with("--")) {
      arguments.what.push_back(argument);
      continue;
    }
    if (i + 1 == argc) throw std::invalid_argument(argument + " needs a value");
    const std::string value = argv[++i];
    if (argument == "--strategies") {
      arguments.strategies = split(value);
    } else if (argument == "--replicas") {
      arguments.mesh.replicas = std::stoul(value);
    } else if (argument == "--schedulers") {
      arguments.mesh.schedulers = std::stoul(value);
    } else if (argument == "--slow") {
      arguments.mesh.slow_replicas = std::stoul(value);
    } else if (argument == "--seed") {
      arguments.mesh.seed = std::stoul(value);
    } else {
      throw std::invalid_argument("unknown option " + argument);
    }
  }
  if (arguments.what.empty()) {
    for (const Load& load : loads()) arguments.what.push_back(load.name);
    arguments.what.emplace_back("scale");
    arguments.what.emplace_back("placement");
  }
  return arguments;
}

void run_all(const Arguments& arguments) {
  for (const std::string& what : arguments.what) {
    if (what == "scale") {
      run_scale(arguments);
      continue;
    }
    if (what == "placement") {
      run_placements();
      continue;
    }
    const auto load = std::find_if(loads().begin(), loads().end(), [&](const Load& each) { return each.name == what; });
    if (load == loads().end()) throw std::invalid_argument("unknown load " + what);
    print_head(*load, arguments.mesh);
    for (const std::string& strategy : arguments.strategies) run(*load, arguments.mesh, strategy);
  }
}

}  // namespace
}  // namespace bellwether::bench

int main(int argc, char** argv) {
  try {
    bellwether::bench::run_all(bellwether::bench::parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_routing: {}\n", error.what());
    return 1;
  }
}
