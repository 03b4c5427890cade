// Streams under a steady rain of faults: each must be the one that an undisturbed mesh gives, token for token.
//
// The environment chooses a run: BELLWETHER_SURVIVAL_SECONDS (20), BELLWETHER_SURVIVAL_SEED (printed; by default
// another one each time), BELLWETHER_SURVIVAL_STREAMS at once (40), BELLWETHER_SURVIVAL_EVERY_MS between two faults
// (2000), and BELLWETHER_SURVIVAL_FAULT ("kill head", say: this fault only). Ten minutes:
//   BELLWETHER_SURVIVAL_SECONDS=600 build/release/bin/test_e2e_survival
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <mutex>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "e2e/reference.h"

namespace bellwether::e2e {
namespace {

namespace json = boost::json;
using ::testing::Contains;
using ::testing::ContainsRegex;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kStreams = 40;
constexpr milliseconds kFrozenFor{1500};

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* value = std::getenv(variable);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

struct Request {
  std::string path;
  std::string body;
  bool stream = true;
};

// What an answer of a list of objects, or of calls with one, must be.
constexpr char kSchema[] = R"({"type":"object","additionalProperties":false,"required":["sheep"],"properties":{"sheep":
    {"type":"array","minItems":3,"maxItems":8,"items":{"type":"object","additionalProperties":false,
     "required":["name","age"],"properties":{"name":{"type":"string","minLength":5,"maxLength":20},
                                             "age":{"type":"integer","minimum":1,"maximum":20}}}}}})";

void constrain(json::object& body, bool as_call) {
  const json::value schema = json::parse(kSchema);
  body.erase("ignore_eos");  // such an answer ends by itself
  if (as_call) {
    body["tools"] =
        json::array{json::object{{"type", "function"}, {"function", {{"name", "count"}, {"parameters", schema}}}}};
    body["tool_choice"] = "required";
  } else {
    body["response_format"] = {{"type", "json_schema"}, {"json_schema", {{"name", "flock"}, {"schema", schema}}}};
  }
}

// Chats greedy and sampled, free, with a schema, and with calls of tools, and completions of several choices with
// log-probabilities.
std::vector<Request> make_requests() {
  std::vector<Request> requests;
  const std::vector<ReferenceCase>& cases = reference_cases();
  for (size_t i = 0; requests.size() < kStreams; ++i) {
    if (i % 5 == 4) {
      json::object body{{"model", kModel},
                        {"prompt", {5, 17 + i, 23, 99}},
                        {"max_tokens", 150},
                        {"ignore_eos", true},
                        {"temperature", 1.0},
                        {"seed", i},
                        {"n", 2},
                        {"logprobs", 2}};
      requests.push_back({"/v1/completions", json::serialize(body), false});
      continue;
    }
    json::object body =
        json::parse(endless_request(cases[i % cases.size()], 100 + static_cast<int>(i) * 10)).as_object();
    body["temperature"] = i % 2 == 0 ? 0.0 : 0.9;
    body["seed"] = i;
    if (i % 5 == 3) constrain(body, i % 2 == 0);
    requests.push_back({"/v1/chat/completions", json::serialize(body), true});
  }
  return requests;
}

struct Answer {
  std::string text;
  milliseconds pause_max{0};  // between two events of a stream
  int refusals = 0;           // 503 before the first token: the mesh did not take the request
};

Answer ask(const std::string& url, const Request& request) {
  Answer answer;
  for (;;) {
    if (request.stream) {
      Clock::time_point last = Clock::now();
      const StreamedReply reply = http_stream(url + request.path, request.body, [&](const StreamedReply&) {
        const Clock::time_point now = Clock::now();
        answer.pause_max = std::max(answer.pause_max, std::chrono::duration_cast<milliseconds>(now - last));
        last = now;
        return true;
      });
      if (reply.status == 200) {
        answer.text = reply.reasoning + "|" + reply.content + "|" + reply.calls + "|" +
                      (reply.done ? "done" : "cut off") + reply.error;
        return answer;
      }
      if (reply.status != 503) throw std::runtime_error(std::to_string(reply.status) + " " + reply.error);
    } else {
      const Reply reply = http_post(url + request.path, request.body);
      if (reply.status == 200) {
        answer.text = json::serialize(reply.json().at("choices"));
        return answer;
      }
      // An answer that is not streamed has no other way to say that it was lost after it had begun.
      if (reply.status != 503) throw std::runtime_error(std::to_string(reply.status) + " " + reply.body);
      if (reply.body.find("no replica") == std::string::npos && reply.body.find("No replica") == std::string::npos &&
          reply.body.find("scheduler") == std::string::npos && reply.body.find("full") == std::string::npos) {
        answer.text = reply.body;
        return answer;
      }
    }
    ++answer.refusals;
    std::this_thread::sleep_for(milliseconds(200));
  }
}

std::string command_line_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  std::string line = text.str();
  std::replace(line.begin(), line.end(), '\0', ' ');
  return line;
}

// Kills or freezes something at random, again and again.
class Faults {
 public:
  Faults(MeshProcess& mesh, uint64_t seed) : mesh_(mesh), random_(seed) {
    const char* only = std::getenv("BELLWETHER_SURVIVAL_FAULT");
    for (const bool freeze : {false, false, true}) {  // two of three kill
      for (const auto& [name, mark] :
           {std::pair{"head", "--rank=0"}, std::pair{"follower", "--rank=1"},
            std::pair{"scheduler", "bellwether-scheduler"}, std::pair{"nats-server", "nats-server"}}) {
        const std::string fault = std::string(freeze ? "freeze " : "kill ") + name;
        if (only == nullptr || fault == only) faults_.push_back({fault, mark, freeze});
      }
    }
  }

  void strike() {
    const auto& [name, mark, freeze] = faults_.at(random_() % faults_.size());
    std::vector<pid_t> pids;
    for (const pid_t pid : descendants_of(mesh_.up().pid())) {
      if (command_line_of(pid).find(mark) != std::string::npos) pids.push_back(pid);
    }
    if (pids.empty()) return;  // it is being started again
    std::sort(pids.begin(), pids.end());
    const pid_t pid = pids[random_() % pids.size()];
    std::cout << name << " " << pid << std::endl;
    ++count_;
    kill(pid, freeze ? SIGSTOP : SIGKILL);
    if (!freeze) return;
    std::this_thread::sleep_for(kFrozenFor);
    kill(pid, SIGCONT);
  }

  [[nodiscard]] int count() const { return count_; }

 private:
  struct Fault {
    std::string name;
    std::string mark;  // in the command line of those that it hits
    bool freeze;
  };

  MeshProcess& mesh_;
  std::vector<Fault> faults_;
  std::mt19937_64 random_;
  int count_ = 0;
};

double sum_of(const std::string& page, const std::string& name) {
  std::istringstream lines(page);
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name)) sum += std::stod(line.substr(line.rfind(' ')));
  }
  return sum;
}

bool is_idle(MeshProcess& mesh) {
  const json::value replicas = mesh.replicas();
  if (replicas.as_array().size() != 3) return false;
  for (const json::value& replica : replicas.as_array()) {
    if (replica.at("phase") != "ready" || replica.at("running") != 0 || replica.at("waiting") != 0 ||
        replica.at("kv_blocks_used") != 0) {
      return false;
    }
  }
  return true;
}

TEST(Survival, EveryStreamIsTheUndisturbedOne) {
  const auto duration = std::chrono::seconds(number_from("BELLWETHER_SURVIVAL_SECONDS", 20));
  const milliseconds every(number_from("BELLWETHER_SURVIVAL_EVERY_MS", 2000));
  const size_t streams = number_from("BELLWETHER_SURVIVAL_STREAMS", kStreams);
  const uint64_t seed = number_from("BELLWETHER_SURVIVAL_SEED", std::random_device{}());
  std::cout << "BELLWETHER_SURVIVAL_SEED=" << seed << std::endl;
  MeshProcess mesh({"--replicas", "3", "--ranks", "2", "--restarts-max", "1000000", "--restart-wait-ms-max", "200"},
                   {"BELLWETHER_API_GATEWAY_RECOVERIES_MAX=100"});
  const std::vector<Request> requests = make_requests();
  std::vector<std::string> expected;
  for (const Request& request : requests) expected.push_back(ask(mesh.url(), request).text);
  EXPECT_THAT(expected, Contains(ContainsRegex(R"(\|\{"sheep": ?\[)"))) << "an answer kept to its schema";
  EXPECT_THAT(expected, Contains(ContainsRegex(R"(count \{"sheep": ?\[)"))) << "arguments kept to theirs";

  std::atomic<bool> over = false;
  std::mutex mutex;
  std::vector<milliseconds> pauses;
  size_t answers = 0;
  int refusals = 0;
  Faults faults(mesh, seed);
  {
    std::vector<std::jthread> clients;
    for (size_t i = 0; i < streams; ++i) {
      clients.emplace_back([&, i] {
        for (size_t which = i; !over; which = (which + 7) % kStreams) {
          Answer answer;
          try {
            answer = ask(mesh.url(), requests[which]);
          } catch (const std::exception& error) {
            answer.text = error.what();
          }
          const std::lock_guard lock(mutex);
          EXPECT_EQ(answer.text, expected[which]) << "request " << which;
          if (requests[which].stream) pauses.push_back(answer.pause_max);
          refusals += answer.refusals;
          ++answers;
        }
      });
    }
    const auto end = Clock::now() + duration;
    for (auto next = Clock::now() + every; next < end; next += every) {
      std::this_thread::sleep_until(next);
      faults.strike();
    }
    over = true;
  }
  const double recoveries = sum_of(http_get(mesh.url() + "/metrics").body, "bellwether_gateway_recoveries_total{");
  std::sort(pauses.begin(), pauses.end());
  std::cout << answers << " answers, " << faults.count() << " faults, " << recoveries << " recoveries, " << refusals
            << " refusals; longest pause of a stream: p50 " << pauses[pauses.size() / 2].count() << " ms, p99 "
            << pauses[pauses.size() * 99 / 100].count() << " ms" << std::endl;
  EXPECT_GT(faults.count(), 0);
  EXPECT_TRUE(eventually([&] { return is_idle(mesh); }, kPatience)) << json::serialize(mesh.replicas());
  EXPECT_EQ(mesh.stop(), 0) << mesh.up().output();
}

}  // namespace
}  // namespace bellwether::e2e
