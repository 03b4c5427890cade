// Tokens per second of one stream, and of 64, through the whole mesh, beside the engine alone and a bare echo on the
// bus.
//
//   bench_mesh [answers] [arguments of `bellwether up`, --device cuda:0 for example]
//
// The same request again and again, greedy: the one of tests/data/nano with the longest answer, of 158 tokens. Rates
// are of the tokens after the first, over all answers; the best of three rounds counts.
//
// The engine alone has the whole machine, in the mesh it shares it with the services, the nats-server and this client:
// what each of them spends on a token is printed, too, and tells where time goes on a machine that others use as well.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <fstream>
#include <future>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <boost/json/value_to.hpp>

#include "bellwether/v1/generate.pb.h"
#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "engine/engine.h"
#include "engine/engine_options.h"
#include "mesh/bus.h"

namespace bellwether {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kTokensPerSecondAsked = 1500;  // of one stream of the demo model
constexpr int32_t kEndOfSequence = 1;           // the demo model's
constexpr int kRounds = 3;                      // the best counts
constexpr size_t kStreams = 64;                 // at once

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Case {
  std::vector<int32_t> prompt;
  int64_t answer_tokens = 0;  // the end-of-sequence token counted
};

// The reference case with the longest answer.
Case longest_answer() {
  std::ifstream file(BELLWETHER_SOURCE_DIR "/tests/data/nano/reference.json");
  std::stringstream text;
  text << file.rdbuf();
  Case longest;
  const boost::json::value reference = boost::json::parse(text.str());
  for (const boost::json::value& item : reference.at("cases").as_array()) {
    const auto tokens = std::ssize(item.at("greedy_ids").as_array());
    if (tokens <= longest.answer_tokens) continue;
    longest = {boost::json::value_to<std::vector<int32_t>>(item.at("prompt_ids")), tokens};
  }
  return longest;
}

struct Figures {
  double first_token_ms = 0;  // mean
  double tokens_per_s = 0;
};

// Of `answers` answers: `answer` returns when its first token came and its last, measured from its beginning.
template <class Answer>
Figures measure(int64_t answers, int64_t answer_tokens, Answer answer) {
  Figures best;
  for (int round = 0; round < kRounds; ++round) {
    double first_s = 0;
    double rest_s = 0;
    for (int64_t i = 0; i < answers; ++i) {
      const auto [first, last] = answer();
      first_s += first;
      rest_s += last - first;
    }
    const double rate = static_cast<double>(answers * (answer_tokens - 1)) / rest_s;
    if (rate > best.tokens_per_s) best = {1e3 * first_s / static_cast<double>(answers), rate};
  }
  return best;
}

// Seconds until the first token of any and until the last of all `sequences`, computed together.
std::pair<double, double> answer_alone(engine::Engine& engine, const Case& request, size_t sequences) {
  const auto begin = Clock::now();
  for (size_t i = 0; i < sequences; ++i) {
    engine::SequenceRequest sequence{.id = i,
                                     .prompt_ids = request.prompt,
                                     .sampling = {.temperature = 0},
                                     .max_tokens = 2 * request.answer_tokens,
                                     .stop_ids = {kEndOfSequence}};
    if (engine.admit(std::move(sequence)) != engine::Admission::kAdmitted) {
      throw std::runtime_error("the engine takes no request");
    }
  }
  std::optional<double> first;
  int64_t made = 0;
  while (engine.has_work()) {
    for (const auto& output : engine.step().outputs) made += std::ssize(output.ids);
    if (made > 0 && !first) first = seconds_since(begin);
  }
  if (made != static_cast<int64_t>(sequences) * request.answer_tokens) {
    throw std::runtime_error(fmt::format("{} tokens came", made));
  }
  return {*first, seconds_since(begin)};
}

// Seconds until the first token and until the end of one stream.
std::pair<double, double> answer_through_the_mesh(const std::string& url, const Case& request) {
  const std::string body =
      boost::json::serialize(boost::json::object{{"model", "bellwether-nano"},
                                                 {"prompt", boost::json::value_from(request.prompt)},
                                                 {"max_tokens", 2 * request.answer_tokens},
                                                 {"temperature", 0},
                                                 {"stream", true},
                                                 {"stream_options", boost::json::object{{"include_usage", true}}}});
  const auto begin = Clock::now();
  std::optional<double> first;
  const e2e::StreamedReply reply = e2e::http_stream(url + "/v1/completions", body, [&](const e2e::StreamedReply&) {
    if (!first) first = seconds_since(begin);
    return true;
  });
  if (!reply.done || !reply.usage) throw std::runtime_error("the stream broke: " + reply.error);
  const auto made = reply.usage->at("completion_tokens").to_number<int64_t>();
  if (made != request.answer_tokens) throw std::runtime_error(fmt::format("{} tokens came", made));
  return {*first, seconds_since(begin)};
}

// Tokens per second of kStreams together, from the first request to the last token; the best round counts.
template <class Answers>
double rate_together(const Case& request, Answers answers) {
  double best_s = 1e30;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = Clock::now();
    answers();
    best_s = std::min(best_s, seconds_since(begin));
  }
  return static_cast<double>(kStreams) * static_cast<double>(request.answer_tokens) / best_s;
}

void stream_together(const std::string& url, const Case& request) {
  std::vector<std::future<void>> streams;
  for (size_t i = 0; i < kStreams; ++i) {
    streams.push_back(std::async(std::launch::async, [&] { (void)answer_through_the_mesh(url, request); }));
  }
  for (auto& stream : streams) stream.get();
}

// --device among the arguments, as `up` passes it on.
std::optional<int> gpu_among(const std::vector<std::string>& arguments) {
  const auto flag = std::ranges::find(arguments, "--device");
  if (flag == arguments.end() || flag + 1 == arguments.end()) return std::nullopt;
  return engine::gpu_of(*(flag + 1));
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

void run(int64_t answers, const std::vector<std::string>& arguments) {
  const Case request = longest_answer();
  Figures alone;
  double alone_together = 0;
  {
    const auto engine = engine::Engine::load(BELLWETHER_SOURCE_DIR "/models/bellwether-nano",
                                             {.gpu = gpu_among(arguments), .draft_tokens = 1});
    alone = measure(answers, request.answer_tokens, [&] { return answer_alone(*engine, request, 1); });
    alone_together = rate_together(request, [&] { (void)answer_alone(*engine, request, kStreams); });
  }
  fmt::print("engine alone, one sequence    {:8.0f} tokens/s\n", alone.tokens_per_s);
  fmt::print("engine alone, {} sequences    {:8.0f} tokens/s\n", kStreams, alone_together);
  e2e::MeshProcess mesh(arguments);
  fmt::print("echo on the bus, one by one   {:8.0f} /s\n", echo(nats_url_in(mesh.up().output())));
  const auto before = cpu_seconds(mesh.up().pid());
  const Figures figures =
      measure(answers, request.answer_tokens, [&] { return answer_through_the_mesh(mesh.url(), request); });
  const auto after = cpu_seconds(mesh.up().pid());
  fmt::print("one stream through the mesh   {:8.0f} tokens/s, {:.0f} % of the engine alone; asked for: {:.0f}\n",
             figures.tokens_per_s, 100 * figures.tokens_per_s / alone.tokens_per_s, kTokensPerSecondAsked);
  fmt::print("its first token after         {:8.1f} ms, the engine alone {:.1f} ms\n", figures.first_token_ms,
             alone.first_token_ms);
  print_cpu_times(before, after, static_cast<double>(kRounds * answers * request.answer_tokens));
  const double together = rate_together(request, [&] { stream_together(mesh.url(), request); });
  fmt::print("{} streams through the mesh   {:8.0f} tokens/s, {:.0f} % of the engine alone\n", kStreams, together,
             100 * together / alone_together);
}

}  // namespace
}  // namespace bellwether

int main(int argc, char** argv) {
  try {
    const int64_t answers = argc > 1 ? std::stoll(argv[1]) : 10;
    bellwether::run(answers, {argv + std::min(argc, 2), argv + argc});
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_mesh: {}\n", error.what());
    return 1;
  }
}
