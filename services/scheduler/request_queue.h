// Requests that wait because every head is full, or because there is none yet.
//
// Who comes first: the class with the lower priority number; in a class the tenant that has been given less work lately
// (tenant_work.h); of a tenant, the request that has waited longer. The queue is bounded in requests and in bytes, and
// a tenant's part of it is; when it is full a request of a better class drives out the last one of its model.
//
// Knows no bus but for the messages that it keeps to be answered. Not thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bellwether/v1/generate.pb.h"
#include "mesh/bus.h"
#include "mesh/clock.h"
#include "mesh/trace.h"
#include "scheduler/placement.h"
#include "scheduler/placer.h"

namespace bellwether::scheduler {

struct QueueOptions {
  size_t requests_max = 1024;
  size_t requests_max_of_tenant = 512;  // requests without a tenant have no such limit
  size_t bytes_max = size_t{256} << 20;
};

struct WaitingRequest {
  v1::GenerateRequest request = {};
  Candidate candidate;
  Strategy strategy = nullptr;
  mesh::TimePoint since;                      // waits, at whichever scheduler
  mesh::TimePoint deadline;                   // it is refused when it still waits then
  mesh::TimePoint polled_at;                  // its gateway was last heard of
  std::optional<mesh::BusMessage> poll = {};  // waits for the answer
  size_t bytes = 0;                           // that it takes here
  mesh::Span span = {};                       // since it came here
};

class RequestQueue {
 public:
  // Without a poll for so long its gateway is gone, and so is the request.
  static constexpr std::chrono::seconds kPollDeadline{3};

  // How much work a tenant has been given lately.
  using Work = std::function<double(const std::string& tenant)>;
  enum class Outcome { kQueued, kFull, kTenantFull };

  RequestQueue(QueueOptions options, Work work) : options_(options), work_(std::move(work)) {}

  // Takes `waiting` only when it returns kQueued. Who was driven out is appended to `driven_out`.
  Outcome push(WaitingRequest&& waiting, std::vector<WaitingRequest>& driven_out);
  // Back to where it was, whatever the limits.
  void put_back(WaitingRequest&& waiting) { add(std::move(waiting)); }

  // The first of the model's requests whose gateway waits for the answer; nullptr when there is none.
  [[nodiscard]] WaitingRequest* first(std::string_view model);
  // All of the model's, in their order. Valid until the queue changes.
  [[nodiscard]] std::vector<WaitingRequest*> in_order(std::string_view model);
  // Is there one that a newcomer of this priority must not overtake?
  [[nodiscard]] bool anyone_before(std::string_view model, int32_t priority) const;

  [[nodiscard]] const WaitingRequest* find(const RequestKey& key) const;  // nullptr when it is not there
  [[nodiscard]] WaitingRequest* find(const RequestKey& key);
  WaitingRequest take(const RequestKey& key);  // REQUIRES: it is there
  // Older attempts of this request: they have been given up.
  void drop_older(const RequestKey& key);

  // Those past their deadline, and those whose gateway is gone.
  [[nodiscard]] std::vector<WaitingRequest> take_overdue(mesh::TimePoint now);
  [[nodiscard]] std::vector<WaitingRequest> take_all(std::string_view model);

  [[nodiscard]] std::vector<std::string> models() const;  // with waiting requests
  [[nodiscard]] size_t size() const { return by_key_.size(); }
  [[nodiscard]] size_t size(std::string_view model) const;
  [[nodiscard]] size_t bytes() const { return bytes_; }
  [[nodiscard]] std::optional<mesh::TimePoint> oldest(std::string_view model) const;  // since when it waits

 private:
  using Line = std::list<WaitingRequest>;  // of a model, who has waited longest first

  class Ranking;

  [[nodiscard]] Line::iterator last_of(Line& line) const;
  WaitingRequest take(Line& line, Line::iterator waiting);
  void add(WaitingRequest&& waiting);

  QueueOptions options_;
  Work work_;
  std::map<std::string, Line, std::less<>> lines_;
  std::unordered_map<RequestKey, Line::iterator, RequestKeyHash> by_key_;
  std::map<std::string, size_t> by_tenant_;
  size_t bytes_ = 0;
};

}  // namespace bellwether::scheduler
