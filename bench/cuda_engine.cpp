// One rank of a model on a GPU, beside what its memory allows; see --help.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine_options.h"
#include "engine/kv_blocks.h"
#include "engine/load_forward.h"
#include "engine/ranks/slices.h"
#include "weights/synthetic.h"

namespace {

using namespace bellwether;
using namespace bellwether::engine;

constexpr const char* kHelp =
    R"(bench_cuda_engine [CONFIG] [options]
Times what one rank of a model computes, weights made up on the GPU, without the other ranks: what a step takes but for
the sums over them. CONFIG: a config.json (bench/deepseek-r1.json).

  --device cuda:N     the GPU (cuda:0)
  --tp N --rank N     of how many ranks, and which (16, 0)
  --batch N,...       sequences decoded at once (1,16,64)
  --context N         tokens that each of them sees (4096)
  --prefill N,...     tokens of prompts that are timed; 0 = none (0)
  --deterministic B   1: sums do not depend on the batch; 0: they may (1)
  --steps N           steps timed, of which the median counts (30)

Floor: the bytes of weights that a step reads, each once, of experts as many as even routing chooses, and of the cache,
at 3.35 TB/s.
)";

constexpr double kBytesPerSecond = 3.35e12;  // of an H100 SXM5, by its data sheet

struct Options {
  std::string config = "bench/deepseek-r1.json";
  std::string device = "cuda:0";
  int64_t tp = 16;
  int64_t rank = 0;
  std::vector<int64_t> batch = {1, 16, 64};
  int64_t context = 4096;
  std::vector<int64_t> prefill = {};
  bool deterministic = true;
  int64_t steps = 30;
};

std::vector<int64_t> numbers_of(std::string_view text) {
  std::vector<int64_t> numbers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    int64_t number = 0;
    const auto [parsed, error] = std::from_chars(text.data() + begin, text.data() + end, number);
    if (error != std::errc() || parsed != text.data() + end || number < 0 || number > 1'000'000) {
      throw std::invalid_argument(fmt::format("\"{}\" is no list of numbers up to 1000000", text));
    }
    numbers.push_back(number);
    begin = end + 1;
  }
  return numbers;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (!flag.starts_with("--")) {
      options.config = flag;
      continue;
    }
    if (++i == argc) throw std::invalid_argument(fmt::format("{} needs a value", flag));
    const std::string_view value = argv[i];
    if (flag == "--device")
      options.device = value;
    else if (flag == "--tp")
      options.tp = numbers_of(value)[0];
    else if (flag == "--rank")
      options.rank = numbers_of(value)[0];
    else if (flag == "--batch")
      options.batch = numbers_of(value);
    else if (flag == "--context")
      options.context = numbers_of(value)[0];
    else if (flag == "--prefill")
      options.prefill = numbers_of(value);
    else if (flag == "--deterministic")
      options.deterministic = numbers_of(value)[0] != 0;
    else if (flag == "--steps")
      options.steps = numbers_of(value)[0];
    else
      throw std::invalid_argument(fmt::format("there is no {}", flag));
  }
  return options;
}

// Bytes that decoding one token of each of `batch` sequences reads.
double bytes_of_step(const ModelConfig& config, const RankSlices& slices, int64_t batch, int64_t context) {
  const auto hidden = static_cast<double>(config.hidden_size);
  const auto heads = static_cast<double>(slices.heads.size());
  const auto q_rank = static_cast<double>(config.q_lora_rank);
  const auto latent = static_cast<double>(config.latent_dim());
  const double q = heads * static_cast<double>(config.qk_head_dim()) * (q_rank > 0 ? q_rank : hidden);
  const double kv_b = heads * static_cast<double>((config.qk_nope_head_dim + config.v_head_dim) * config.kv_lora_rank);
  const double o = heads * static_cast<double>(config.v_head_dim) * hidden;
  const double attention = hidden * (q_rank + latent) + q + kv_b + o;
  const double cache = 2 * latent * static_cast<double>(batch * context);
  const auto experts = static_cast<double>(config.n_routed_experts);
  const double untouched = std::pow(1 - static_cast<double>(config.num_experts_per_tok) / std::max(1.0, experts),
                                    static_cast<double>(batch));
  double bytes = 2 * hidden * static_cast<double>(slices.vocabulary.size());
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    bytes += attention + cache;
    if (!config.is_moe_layer(layer)) {
      bytes += 3 * hidden * static_cast<double>(slices.dense.size());
      continue;
    }
    bytes += 2 * hidden * experts + 3 * hidden * static_cast<double>(slices.shared.size()) +
             3 * hidden * static_cast<double>(slices.expert.size()) * experts * (1 - untouched);
  }
  return bytes;
}

class Bench {
 public:
  Bench(Forward& forward, const ModelConfig& config, const Options& options)
      : forward_(forward), config_(config), options_(options) {}

  // Milliseconds of a step that decodes `batch` sequences of the context's length.
  double decode(int64_t batch) {
    const int64_t pages = blocks_for(options_.context);
    std::vector<std::vector<int32_t>> tables;
    for (int64_t i = 0; i < batch; ++i) tables.push_back(blocks(i * pages, pages));
    return median([&] {
      const std::vector<int32_t> ids = random_ids(batch);
      std::vector<BatchSegment> segments;
      for (int64_t i = 0; i < batch; ++i) {
        segments.push_back({.ids = std::span(ids).subspan(static_cast<size_t>(i), 1),
                            .position = options_.context - 1,
                            .prompt_tokens = 0,
                            .blocks = tables[static_cast<size_t>(i)]});
      }
      return time(segments);
    });
  }

  double prefill(int64_t tokens) {
    const std::vector<int32_t> table = blocks(0, blocks_for(tokens));
    return median([&] {
      const std::vector<int32_t> ids = random_ids(tokens);
      return time({{.ids = ids, .prompt_tokens = tokens, .blocks = table, .logits_begin = tokens - 1}});
    });
  }

 private:
  static std::vector<int32_t> blocks(int64_t first, int64_t count) {
    std::vector<int32_t> table;
    for (int64_t i = 0; i < count; ++i) table.push_back(static_cast<int32_t>(first + i));
    return table;
  }

  std::vector<int32_t> random_ids(int64_t count) {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < count; ++i) {
      ids.push_back(static_cast<int32_t>(random_() % static_cast<uint64_t>(config_.vocab_size)));
    }
    return ids;
  }

  double time(const std::vector<BatchSegment>& segments) {
    const auto begin = std::chrono::steady_clock::now();
    (void)forward_.compute(segments);
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  }

  double median(const std::function<double()>& run) const {
    for (int i = 0; i < 3; ++i) (void)run();
    std::vector<double> times;
    for (int64_t i = 0; i < options_.steps; ++i) times.push_back(run());
    std::ranges::sort(times);
    return times[times.size() / 2];
  }

  Forward& forward_;
  const ModelConfig& config_;
  const Options& options_;
  std::mt19937_64 random_{1};
};

int bench(const Options& options) {
  std::stringstream text;
  text << std::ifstream(options.config, std::ios::binary).rdbuf();
  const ModelConfig config = parse_model_config(text.str());
  const int64_t batch = std::ranges::max(options.batch);
  const int64_t longest = options.prefill.empty() ? 0 : std::ranges::max(options.prefill);
  const EngineOptions wanted = resolve({.gpu = gpu_of(options.device),
                                        .deterministic = options.deterministic,
                                        .kv_blocks = std::max(batch * blocks_for(options.context), blocks_for(longest)),
                                        .batch_tokens_max = static_cast<int>(std::max({batch, longest, int64_t{64}})),
                                        .context_tokens_max = std::max(options.context, longest) + kBlockTokens,
                                        .ranks = static_cast<int>(options.tp),
                                        .rank = static_cast<int>(options.rank)},
                                       config);
  const auto begin = std::chrono::steady_clock::now();
  const auto forward = load_forward(config, wanted, weights::make_synthetic_source(config.fp8_weights), [](double) {});
  fmt::print("{}, rank {} of {}, {}, {}: loaded in {:.1f} s\n", options.config, options.rank, options.tp,
             options.device, options.deterministic ? "deterministic" : "not deterministic",
             std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  const RankSlices slices = slices_of(config, wanted.rank, wanted.ranks);
  Bench bench(*forward, config, options);
  fmt::print("{:<26} {:>9} {:>9} {:>9} {:>11}\n", "", "ms", "floor ms", "of floor", "tokens/s");
  for (const int64_t sequences : options.batch) {
    const double ms = bench.decode(sequences);
    const double floor = 1e3 * bytes_of_step(config, slices, sequences, options.context) / kBytesPerSecond;
    fmt::print("{:<26} {:>9.3f} {:>9.3f} {:>8.2f}x {:>11.1f}\n",
               fmt::format("decode {} at {}", sequences, options.context), ms, floor, ms / floor,
               1e3 * static_cast<double>(sequences) / ms);
    std::fflush(stdout);
  }
  for (const int64_t tokens : options.prefill) {
    const double ms = bench.prefill(tokens);
    fmt::print("{:<26} {:>9.2f} {:>31.1f}\n", fmt::format("prefill {}", tokens), ms,
               1e3 * static_cast<double>(tokens) / ms);
    std::fflush(stdout);
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
    return bench(parse(argc, argv));
  } catch (const std::invalid_argument& error) {
    fmt::print(stderr, "bench_cuda_engine: {}\nSee bench_cuda_engine --help.\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_cuda_engine: {}\n", error.what());
    return 1;
  }
}
