// Prefill and decode throughput of the engine, beside what memory and arithmetic allow; see --help.
#include "engine/engine.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// clang-format off
#include "engine/cpu/simd_targets.h"
#include <hwy/highway.h>
// clang-format on

#include "ceilings.h"
#include "engine/cpu/amx.h"
#include "engine/cpu/thread_pool.h"
#include "engine/follower.h"
#include "engine/kv_blocks.h"
#include "engine/rank_processes.h"

namespace {

using namespace bellwether;

constexpr const char* kHelp =
    R"(bench_engine (MODEL_FOLDER | --synthetic CONFIG) [options]
Measures the engine's prefill and decode throughput and, in the same run, what the machine allows.

  --synthetic CONFIG  a config.json whose weights are made up (bench/synthetic.json, say); takes some time and memory
  --threads N         computing threads of each rank; every CPU that this process may use unless given
  --ranks N           processes that share the work of every layer, connected by UCX (1)
  --batch N,...       sequences decoded at once (1,16)
  --context N,...     tokens of each sequence when decoding begins (128)
  --prefill N,...     tokens of the prompts whose prefill is timed (512)
  --steps N           decode steps timed (16)
  --repeat N          times each measurement is taken; the quickest counts (3)
  --targets NAME,...  instruction sets to use at most, each in turn: best (AMX, where the CPU has it), AVX3
                      (AVX-512), AVX2, SSE4 (best)

Weights: bytes of the matrices that a step reads, each once; of the experts, those that the router really chose.
FLOP: a multiplication and an addition for each weight and token; attention's scores and sums are not counted.
With several ranks both are rank 0's, times the ranks, and the limits those of as many threads as all have together.
)";

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  std::string model;
  std::string synthetic;
  int64_t threads = 0;
  int64_t ranks = 1;
  std::vector<int64_t> batch = {1, 16};
  std::vector<int64_t> context = {128};
  std::vector<int64_t> prefill = {512};
  int64_t steps = 16;
  int64_t repeat = 3;
  std::vector<std::string> targets = {"best"};
};

int64_t number_of(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 1 || number > 1'000'000) {
    throw UsageError(fmt::format("\"{}\" is no number from 1 to 1000000", text));
  }
  return number;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

std::vector<int64_t> numbers_of(std::string_view text) {
  std::vector<int64_t> numbers;
  for (const std::string& word : words_of(text)) numbers.push_back(number_of(word));
  return numbers;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (!flag.starts_with("--")) {
      options.model = flag;
      continue;
    }
    if (++i == argc) throw UsageError(fmt::format("{} needs a value", flag));
    const std::string_view value = argv[i];
    if (flag == "--synthetic") {
      options.synthetic = value;
    } else if (flag == "--threads") {
      options.threads = number_of(value);
    } else if (flag == "--ranks") {
      options.ranks = number_of(value);
    } else if (flag == "--batch") {
      options.batch = numbers_of(value);
    } else if (flag == "--context") {
      options.context = numbers_of(value);
    } else if (flag == "--prefill") {
      options.prefill = numbers_of(value);
    } else if (flag == "--steps") {
      options.steps = number_of(value);
    } else if (flag == "--repeat") {
      options.repeat = number_of(value);
    } else if (flag == "--targets") {
      options.targets = words_of(value);
    } else {
      throw UsageError(fmt::format("there is no {}", flag));
    }
  }
  if (options.ranks > 1 && options.targets.size() > 1) throw UsageError("several ranks take one of --targets");
  if (options.model.empty() == options.synthetic.empty()) throw UsageError("name one model");
  return options;
}

// Takes the instruction sets that are better than the one called `name` out of the choice; "best" takes none.
void limit_target(std::string_view name) {
  hwy::SetSupportedTargetsForTest(0);
  int64_t allowed = 0;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {  // the best first
    if (allowed != 0 || name == hwy::TargetName(target)) allowed |= target;
  }
  if (allowed == 0 && name != "best") throw UsageError(fmt::format("this CPU has no {}", name));
  hwy::SetSupportedTargetsForTest(allowed);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  engine::cpu::amx::set_enabled(name == "best");
}

// A measurement of `tokens` tokens; of several, the quickest.
struct Measured {
  std::string name;
  double seconds = 1e30;
  int64_t tokens = 0;
  engine::WeightWork work = {};
};

class Bench {
 public:
  Bench(engine::Engine& engine, const Options& options) : engine_(engine), options_(options) {}

  Measured prefill(int64_t tokens) {
    Measured best{.name = fmt::format("prefill of {}", tokens), .tokens = tokens};
    for (int64_t i = 0; i < options_.repeat; ++i) {
      progress(best.name, i);
      admit(tokens, 1);
      run(best, [&] {
        engine::WeightWork work;
        while (engine_.has_work()) add(work, engine_.step().work);
        return work;
      });
    }
    return best;
  }

  Measured decode(int64_t batch, int64_t context) {
    Measured best{.name = fmt::format("decode of {} at {}", batch, context), .tokens = batch * options_.steps};
    for (int64_t i = 0; i < options_.repeat; ++i) {
      progress(best.name, i);
      for (int64_t sequence = 0; sequence < batch; ++sequence) admit(context, options_.steps + kWarmUpSteps);
      for (int64_t warm = 0; warm < kWarmUpSteps;) {
        if (!engine_.has_work()) throw UsageError(fmt::format("{} sequences do not decode together", batch));
        warm += engine_.step().decode_tokens == batch ? 1 : 0;
      }
      run(best, [&] {
        engine::WeightWork work;
        for (int64_t step = 0; step < options_.steps; ++step) add(work, engine_.step().work);
        return work;
      });
      while (engine_.has_work()) (void)engine_.step();
    }
    return best;
  }

 private:
  static constexpr int64_t kWarmUpSteps = 2;

  static void add(engine::WeightWork& sum, const engine::WeightWork& work) {
    sum.bytes += work.bytes;
    sum.multiply_adds += work.multiply_adds;
  }

  static void progress(const std::string& name, int64_t repeat) { fmt::print(stderr, "{}, {}\n", name, repeat + 1); }

  // Prompts of random tokens, of which no two share a beginning.
  void admit(int64_t tokens, int64_t output) {
    engine::SequenceRequest request{.id = ++id_, .prompt_ids = {}, .sampling = {.temperature = 0}};
    const auto vocabulary = static_cast<uint64_t>(engine_.config().vocab_size);
    for (int64_t i = 0; i < tokens; ++i) request.prompt_ids.push_back(static_cast<int32_t>(random_() % vocabulary));
    request.max_tokens = output;
    std::string reason;
    if (engine_.admit(std::move(request), &reason) != engine::Admission::kAdmitted) throw UsageError(reason);
  }

  template <class Work>
  void run(Measured& best, Work&& work) const {
    const auto begin = std::chrono::steady_clock::now();
    const engine::WeightWork done = work();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (seconds >= best.seconds) return;
    best.seconds = seconds;
    best.work = {.bytes = done.bytes * options_.ranks, .multiply_adds = done.multiply_adds * options_.ranks};
  }

  engine::Engine& engine_;
  const Options& options_;
  engine::SequenceId id_ = 0;
  std::mt19937_64 random_{1};
};

engine::EngineOptions engine_options(const Options& options, int rank) {
  const int64_t batch = std::ranges::max(options.batch);
  const int64_t decoded = std::ranges::max(options.context) + options.steps + 8;
  engine::EngineOptions wanted{.threads = static_cast<int>(options.threads), .sequences_max = static_cast<int>(batch)};
  // A sequence starts only when those that run could each have one block more (engine/batch_plan.h).
  wanted.kv_blocks =
      std::max(batch * (engine::blocks_for(decoded) + 1), engine::blocks_for(std::ranges::max(options.prefill) + 1));
  wanted.ranks = static_cast<int>(options.ranks);
  wanted.rank = rank;
  return wanted;
}

engine::ModelConfig synthetic_config(const Options& options) {
  std::stringstream config;
  std::ifstream file(options.synthetic, std::ios::binary);
  if (!file) throw UsageError(fmt::format("{} cannot be read", options.synthetic));
  config << file.rdbuf();
  return engine::parse_model_config(config.str());
}

std::unique_ptr<engine::Engine> load(const Options& options) {
  const engine::EngineOptions wanted = engine_options(options, 0);
  const auto progress = [](double part) { fmt::print(stderr, "\rweights {:.0f} % ", 100 * part); };
  if (options.synthetic.empty()) return engine::Engine::load(options.model, wanted, progress);
  fmt::print(stderr, "making weights up\n");
  return engine::Engine::synthetic(synthetic_config(options), wanted);
}

void follow(const Options& options, engine::Collective& group) {
  const engine::EngineOptions wanted = engine_options(options, group.rank());
  const auto follower = options.synthetic.empty() ? engine::Follower::load(options.model, wanted)
                                                  : engine::Follower::synthetic(synthetic_config(options), wanted);
  follower->follow(group);
}

// The table, a line as soon as it is measured.
class Table {
 public:
  Table(double read, bench::DotPeak peak, const std::optional<bench::DotPeak>& other)
      : read_(read), peak_(std::move(peak)) {
    fmt::print("{:<22} {:>10} {:>12} {:>8} {:>10} {:>8}\n", "", "tokens/s", "weights GB/s", "of read", "GFLOP/s",
               "of peak");
    fmt::print("{:<22} {:>10} {:>12.2f} {:>8} {:>10.1f}          {}\n", "limit", "", read_ / 1e9, "", peak_.flops / 1e9,
               peak_.instruction);
    if (other) fmt::print("{:<22} {:>42.1f}          {}\n", "for comparison", other->flops / 1e9, other->instruction);
  }

  void add(const Measured& row) const {
    const double bytes = static_cast<double>(row.work.bytes) / row.seconds;
    const double flops = 2 * static_cast<double>(row.work.multiply_adds) / row.seconds;
    fmt::print("{:<22} {:>10.1f} {:>12.2f} {:>6.1f} % {:>10.1f} {:>6.1f} %\n", row.name,
               static_cast<double>(row.tokens) / row.seconds, bytes / 1e9, 100 * bytes / read_, flops / 1e9,
               100 * flops / peak_.flops);
    std::fflush(stdout);
  }

 private:
  double read_;
  bench::DotPeak peak_;
};

// `group`: of several ranks, this one is rank 0.
void bench_target(const Options& options, const std::string& target, std::unique_ptr<engine::Collective> group) {
  limit_target(target);  // before loading, which orders weights for it
  const std::unique_ptr<engine::Engine> engine = load(options);
  if (group) engine->join(std::move(group));
  engine::cpu::ThreadPool pool(engine->options().threads * engine->options().ranks);
  Bench bench(*engine, options);
  fmt::print("{}, {} ranks of {} threads, {}\n", options.model.empty() ? options.synthetic : options.model,
             options.ranks, engine->options().threads, target);
  const Table table(bench::read_bytes_per_second(pool), bench::dot_peak(pool), bench::bf16_peak(pool));
  for (const int64_t tokens : options.prefill) table.add(bench.prefill(tokens));
  for (const int64_t context : options.context) {
    for (const int64_t batch : options.batch) table.add(bench.decode(batch, context));
  }
}

void bench_engine(const Options& options, std::unique_ptr<engine::Collective> group) {
  for (const std::string& target : options.targets) bench_target(options, target, std::move(group));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print("peak memory {:.2f} GB, {:.2f} of it for the limit of reading\n",
             static_cast<double>(usage.ru_maxrss) * 1024 / 1e9, bench::kReadBytes / 1e9);
  std::fflush(stdout);
}

void bench_ranks(const Options& options) {
  const auto work = [&](std::unique_ptr<engine::UcxCollective>& group, const engine::StringPipe&) -> std::string {
    if (group->rank() == 0) {
      bench_engine(options, std::move(group));
    } else {
      limit_target(options.targets[0]);
      follow(options, *group);
    }
    return "";
  };
  constexpr std::chrono::minutes kPatience{10};  // ranks make their weights up at their own pace
  const engine::RankProcesses ranks(static_cast<int>(options.ranks), work,
                                    {.connect = kPatience, .progress = kPatience});
  if (const std::string words = ranks.pipe(0).receive(); !words.empty()) throw std::runtime_error(words);
}

int run(const Options& options) {
  for (const std::string& target : options.targets) limit_target(target);  // a wrong name is told at once
  if (options.ranks > 1) {
    bench_ranks(options);
  } else {
    bench_engine(options, nullptr);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (std::any_of(argv, argv + argc, [](const char* word) { return std::string_view(word) == "--help"; })) {
    fmt::print("{}", kHelp);
    return 0;
  }
  try {
    return run(parse(argc, argv));
  } catch (const UsageError& error) {
    fmt::print(stderr, "bench_engine: {}\nSee bench_engine --help.\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_engine: {}\n", error.what());
    return 1;
  }
}
