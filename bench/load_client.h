// Many HTTP streams at once from one thread, counted rather than read: what a load generator can afford beside the
// servers it measures on the same machine.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace bellwether::bench {

struct LoadPlan {
  std::string address;            // 127.0.0.1:PORT
  std::string request;            // as it goes over the wire; the reply is a chunked event stream
  int64_t requests = 0;           // in all
  double requests_per_s = 0;      // evenly spread; 0 = all at once
  std::chrono::seconds time_max;  // after it what has not ended counts as failed
};

struct LoadResult {
  int64_t failed = 0;  // no 200, an error in the stream, or no [DONE]
  int64_t events = 0;  // "data: ", but for [DONE]
  int64_t running_max = 0;
  double seconds = 0;                       // from the first request to the end of the last reply
  double events_per_s_sustained = 0;        // while at least nine in ten of the streams ran
  std::vector<double> first_event_ms = {};  // of each request that got one, sorted
  std::string first_failure = {};           // the beginning of what came

  [[nodiscard]] double first_event_ms_at(double quantile) const;
};

// A connection is used again for the next request when its reply is complete. Throws std::runtime_error when the
// address cannot be reached at all. `on_all_running`, if given, is called once all requests run at the same time.
[[nodiscard]] LoadResult run_load(const LoadPlan& plan, void (*on_all_running)(void*) = nullptr,
                                  void* context = nullptr);

}  // namespace bellwether::bench
