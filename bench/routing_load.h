// Requests for a simulated mesh. They come by a Poisson process, whoever is served: as from many independent clients.
// Lengths are log-normal. All is drawn from one seed, so every strategy gets the same requests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "simulated_mesh.h"

namespace bellwether::bench {

// Log-normal; `mean` is the distribution's own mean, before it is cut to 1 to `max`.
struct Length {
  double mean = 1;
  double sigma = 0;  // of the logarithm
  int64_t max = kContextTokensMax / 4;
};

struct Load {
  std::string name;
  std::string description;
  double requests_per_s = 1;  // for each replica
  size_t requests = 1000;     // for each replica
  // Each request has one of so many beginnings, tenants' system prompts; 0 = none. Number k is asked for in proportion
  // to k^-popularity.
  size_t prefixes = 0;  // for 8 replicas, more for more
  int64_t prefix_tokens = 0;
  double popularity = 0;
  Length prompt;  // after the prefix
  Length answer;
  // Above 1: a conversation has so many turns on average (geometric); each prompt is all that was said before and a new
  // question of `question` tokens, `pause_s` after the last answer on average (exponential).
  double turns = 1;
  Length question = {};
  double pause_s = 0;
  size_t burst = 1;  // so many requests come at once, with one prompt but for a question of their own at its end
};

struct LoadFigures {
  std::vector<double> first_token_s = {};  // from arrival, refusals included
  std::vector<double> token_s = {};        // of each request, between its tokens on average
  double output_tokens_per_s = 0;
  double hit_rate = 0;   // of prompt tokens, found in a cache
  double imbalance = 0;  // the busiest replica's computing, divided by the mean
  int64_t refusals = 0;
};

// Runs `load` until every request is finished.
[[nodiscard]] LoadFigures run_load(const Load& load, const MeshOptions& options);

// The value below which a part of them lies, 0 to 1. REQUIRES: not empty.
[[nodiscard]] double percentile(std::vector<double> values, double part);

}  // namespace bellwether::bench
