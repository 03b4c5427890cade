// A collector of traces: a real HTTP server that keeps the spans it is sent.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "mesh/http_server.h"

namespace bellwether::testing {

// A span as OTLP has it, with its process and its attributes made easy to read.
struct CollectedSpan {
  std::string service;
  std::string name;
  std::string trace_id;
  std::string span_id;
  std::string parent_span_id;
  std::map<std::string, std::string> attributes;
  std::vector<std::string> events;
  bool failed = false;
  uint64_t start_unix_ns = 0;
  uint64_t end_unix_ns = 0;
};

class TraceCollector {
 public:
  struct Post {
    std::string path;
    std::string content_type;
    size_t spans = 0;
  };

  // `answers`: the statuses of the first posts; then all are taken.
  explicit TraceCollector(std::deque<unsigned> answers = {}, const std::string& address = "127.0.0.1:0")
      : answers_(std::move(answers)), server_(io_.get_executor(), {}) {
    for (const char* path : {"/v1/traces", "/below/v1/traces"}) {
      server_.route("POST", path, [this](mesh::HttpExchange& exchange) -> boost::asio::awaitable<void> {
        mesh::HttpResponse response{.status = take(exchange.request()), .body = "{}"};
        co_await exchange.send(std::move(response));
      });
    }
    address_ = server_.listen(address);
    thread_ = std::thread([this] { io_.run(); });
  }
  ~TraceCollector() {
    io_.stop();
    thread_.join();
  }
  TraceCollector(const TraceCollector&) = delete;
  TraceCollector& operator=(const TraceCollector&) = delete;

  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] std::string url() const { return "http://" + address_; }

  // Waits until so many posts or spans have come; throws when they do not.
  std::vector<Post> wait_for_posts(size_t count) {
    wait([&] { return posts_.size() >= count; });
    return posts_;
  }
  std::vector<CollectedSpan> wait_for_spans(size_t count) {
    wait([&] { return spans_.size() >= count; });
    return spans_;
  }
  // The first one of this name.
  CollectedSpan wait_for(const std::string& name) {
    CollectedSpan found;
    wait([&] {
      for (const CollectedSpan& span : spans_) {
        if (span.name == name) {
          found = span;
          return true;
        }
      }
      return false;
    });
    return found;
  }

 private:
  template <class Condition>
  void wait(Condition condition) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(20), condition)) throw std::runtime_error("no such spans came");
  }

  unsigned take(const mesh::HttpRequest& request) {
    const std::lock_guard lock(mutex_);
    unsigned status = 200;
    if (!answers_.empty()) {
      status = answers_.front();
      answers_.pop_front();
    }
    Post post{.path = request.path, .content_type = std::string(request.header("content-type"))};
    const boost::json::value body = boost::json::parse(request.body);
    for (const auto& resource : body.at("resourceSpans").as_array()) {
      const std::string service = attributes_of(resource.at("resource").as_object())["service.name"];
      for (const auto& scope : resource.at("scopeSpans").as_array()) {
        for (const auto& span : scope.at("spans").as_array()) {
          ++post.spans;
          if (status == 200) spans_.push_back(read(service, span.as_object()));
        }
      }
    }
    posts_.push_back(std::move(post));
    changed_.notify_all();
    return status;
  }

  static std::map<std::string, std::string> attributes_of(const boost::json::object& object) {
    std::map<std::string, std::string> attributes;
    for (const auto& attribute : object.at("attributes").as_array()) {
      const auto& value = attribute.at("value").as_object();
      attributes[std::string(attribute.at("key").as_string())] = std::string(value.begin()->value().as_string());
    }
    return attributes;
  }

  static CollectedSpan read(const std::string& service, const boost::json::object& span) {
    CollectedSpan read{.service = service,
                       .name = std::string(span.at("name").as_string()),
                       .trace_id = std::string(span.at("traceId").as_string()),
                       .span_id = std::string(span.at("spanId").as_string()),
                       .parent_span_id = {},
                       .attributes = attributes_of(span),
                       .events = {},
                       .failed = span.contains("status"),
                       .start_unix_ns = std::stoull(std::string(span.at("startTimeUnixNano").as_string())),
                       .end_unix_ns = std::stoull(std::string(span.at("endTimeUnixNano").as_string()))};
    if (const auto* parent = span.if_contains("parentSpanId")) read.parent_span_id = std::string(parent->as_string());
    for (const auto& event : span.at("events").as_array()) read.events.emplace_back(event.at("name").as_string());
    return read;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<unsigned> answers_;
  std::vector<Post> posts_;
  std::vector<CollectedSpan> spans_;
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
  mesh::HttpServer server_;
  std::string address_;
  std::thread thread_;
};

}  // namespace bellwether::testing
