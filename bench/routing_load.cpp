#include "routing_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace bellwether::bench {
namespace {

constexpr size_t kReplicasUsual = 8;  // that Load::prefixes is for

double seconds(Simulation::Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

class LoadRun {
 public:
  LoadRun(const Load& load, const MeshOptions& options)
      : load_(load),
        mesh_(options),
        random_(options.seed),
        prefixes_(load.prefixes * std::max(kReplicasUsual, options.replicas) / kReplicasUsual),
        left_(load.requests * options.replicas),
        rate_(load.requests_per_s * static_cast<double>(options.replicas)) {
    std::vector<double> weights;
    for (size_t i = 1; i <= prefixes_; ++i) weights.push_back(std::pow(static_cast<double>(i), -load.popularity));
    which_prefix_ = std::discrete_distribution<size_t>(weights.begin(), weights.end());
  }

  LoadFigures run() {
    const TimePoint begin = mesh_.simulation().now();
    arrive();
    mesh_.simulation().run([&] { return left_ == 0 && conversations_ == 0 && mesh_.in_progress() == 0; });
    figures_.output_tokens_per_s = static_cast<double>(output_tokens_) / seconds(mesh_.simulation().now() - begin);
    figures_.hit_rate = static_cast<double>(cached_tokens_) / static_cast<double>(prompt_tokens_);
    double most = 0;
    double all = 0;
    for (const auto& replica : mesh_.replicas()) {
      most = std::max(most, replica->seconds_busy());
      all += replica->seconds_busy();
    }
    figures_.imbalance = most / (all / static_cast<double>(mesh_.replicas().size()));
    return std::move(figures_);
  }

 private:
  // What a new conversation says, and how it goes on.
  struct Conversation {
    std::string tenant;
    std::string session;
    std::vector<int32_t> said;
    uint64_t seed = 0;
    int turns_left = 1;
  };

  int64_t draw(const Length& length, std::mt19937_64& random) {
    const double mu = std::log(length.mean) - length.sigma * length.sigma / 2;
    const double value = std::lognormal_distribution<double>(mu, length.sigma)(random);
    return std::clamp<int64_t>(std::llround(value), 1, length.max);
  }

  static void append_tokens(std::vector<int32_t>& ids, int64_t count, std::mt19937_64& random) {
    for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random() % kVocabulary));
  }

  void arrive() {
    if (left_ == 0) return;
    const uint64_t seed = random_();
    const size_t copies = std::min(load_.burst, left_);
    for (size_t i = 0; i < copies; ++i) begin(seed, i);
    left_ -= copies;
    const double wait_s =
        std::exponential_distribution<double>(rate_ / static_cast<double>(load_.burst) / load_.turns)(random_);
    mesh_.simulation().after(std::chrono::duration_cast<Simulation::Duration>(std::chrono::duration<double>(wait_s)),
                             [this] { arrive(); });
  }

  // All of a conversation is drawn from its seed: what others do meanwhile does not change it.
  void begin(uint64_t seed, size_t sibling) {
    std::mt19937_64 random(seed);
    auto conversation = std::make_shared<Conversation>();
    conversation->session = fmt::format("session-{:x}", seed);
    if (prefixes_ > 0) {
      const size_t prefix = which_prefix_(random);
      conversation->tenant = fmt::format("tenant-{}", prefix);
      std::mt19937_64 of_prefix(prefix);
      append_tokens(conversation->said, load_.prefix_tokens, of_prefix);
    }
    append_tokens(conversation->said, draw(load_.prompt, random), random);
    if (load_.burst > 1) {
      random.seed(seed + sibling);
      append_tokens(conversation->said, draw(load_.question, random), random);
    }
    if (load_.turns > 1) conversation->turns_left += std::geometric_distribution<int>(1 / load_.turns)(random);
    conversation->seed = random();
    ++conversations_;
    say(std::move(conversation));
  }

  void say(std::shared_ptr<Conversation> conversation) {
    std::mt19937_64 random(conversation->seed);
    conversation->seed = random();
    auto request = std::make_unique<SimulatedRequest>();
    request->prompt_ids = conversation->said;
    request->output_tokens = draw(load_.answer, random);
    request->tenant = conversation->tenant;
    request->session = conversation->session;
    request->on_finished = [this, conversation](const SimulatedRequest& finished) { heard(conversation, finished); };
    mesh_.submit(std::move(request));
  }

  void heard(const std::shared_ptr<Conversation>& conversation, const SimulatedRequest& finished) {
    count(finished);
    // The head repeats the prompt: an answer's ids are known without it.
    const size_t prompt = finished.prompt_ids.size();
    for (int64_t i = 0; i < finished.output_tokens; ++i) {
      conversation->said.push_back(finished.prompt_ids[static_cast<size_t>(i) % prompt]);
    }
    std::mt19937_64 random(conversation->seed);
    conversation->seed = random();
    append_tokens(conversation->said, draw(load_.question, random), random);
    const bool ends =
        --conversation->turns_left == 0 || std::ssize(conversation->said) + load_.answer.max > kContextTokensMax / 2;
    if (ends) {
      --conversations_;
      return;
    }
    const double pause_s = std::exponential_distribution<double>(1 / load_.pause_s)(random);
    mesh_.simulation().after(std::chrono::duration_cast<Simulation::Duration>(std::chrono::duration<double>(pause_s)),
                             [this, conversation] { say(conversation); });
  }

  void count(const SimulatedRequest& finished) {
    figures_.first_token_s.push_back(seconds(finished.first_token - finished.arrived));
    if (finished.output_tokens > 1) {
      figures_.token_s.push_back(seconds(finished.finished - finished.first_token) /
                                 static_cast<double>(finished.output_tokens - 1));
    }
    figures_.refusals += finished.refusals;
    prompt_tokens_ += std::ssize(finished.prompt_ids);
    cached_tokens_ += finished.cached_tokens;
    output_tokens_ += finished.output_tokens;
  }

  const Load& load_;
  SimulatedMesh mesh_;
  std::mt19937_64 random_;
  size_t prefixes_;
  std::discrete_distribution<size_t> which_prefix_;
  size_t left_;  // first turns that have not come yet
  double rate_;  // requests per second, of all
  size_t conversations_ = 0;
  int64_t prompt_tokens_ = 0;
  int64_t cached_tokens_ = 0;
  int64_t output_tokens_ = 0;
  LoadFigures figures_;
};

}  // namespace

LoadFigures run_load(const Load& load, const MeshOptions& options) {
  return LoadRun(load, options).run();
}

double percentile(std::vector<double> values, double part) {
  const auto at = static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

}  // namespace bellwether::bench
