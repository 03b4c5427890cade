// The bus against a real nats-server: delivery, requests, limits, a server that dies, hangs and comes back.

#include "mesh/bus.h"

#include <gmock/gmock.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "bellwether/v1/generate.pb.h"
#include "mesh/nats_link.h"
#include "mesh/nats_server.h"

namespace bellwether::mesh {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Message = v1::CancelRequest;  // a text and a number: request_id and attempt

constexpr auto kTimeMax = 20s;  // of anything awaited here

Message message(const std::string& text, uint32_t number = 0) {
  Message result;
  result.set_request_id(text);
  result.set_attempt(number);
  return result;
}

// Its field 1 is bytes where Message has a text, and these are no UTF-8.
google::protobuf::BytesValue malformed() {
  google::protobuf::BytesValue result;
  result.set_value("\xFF");
  return result;
}

class BusTest : public ::testing::Test {
 protected:
  std::unique_ptr<Bus> connect(BusOptions options = {}) {
    options.url = server_.url();
    options.client_name = "bus_test";
    return std::make_unique<Bus>(io_.get_executor(), options);
  }

  // Runs the executor until `done`; false when it took too long.
  bool run_until(const std::function<bool()>& done) {
    io_.restart();
    const auto deadline = std::chrono::steady_clock::now() + kTimeMax;
    const auto work = asio::make_work_guard(io_);
    while (!done() && std::chrono::steady_clock::now() < deadline) io_.run_one_for(10ms);
    return done();
  }

  // Runs the executor until the coroutine has ended, and returns or throws what it does.
  template <class T>
  T await(asio::awaitable<T> coroutine) {
    std::optional<T> result;
    std::exception_ptr failure;
    bool ended = false;
    asio::co_spawn(io_, std::move(coroutine), [&](std::exception_ptr error, T value) {
      failure = error;
      result = std::move(value);
      ended = true;
    });
    EXPECT_TRUE(run_until([&] { return ended; }));
    if (failure) std::rethrow_exception(failure);
    return *result;
  }
  void await(asio::awaitable<void> coroutine) {
    await([](asio::awaitable<void> inner) -> asio::awaitable<bool> {
      co_await std::move(inner);
      co_return true;
    }(std::move(coroutine)));
  }

  ErrorCode request_error(Bus& bus, const std::string& subject, std::chrono::milliseconds timeout) {
    try {
      await(bus.request<Message>(subject, message("?"), timeout));
    } catch (const Error& error) {
      return error.code();
    }
    ADD_FAILURE() << "an answer came";
    return ErrorCode::kInternal;
  }

  bellwether::testing::NatsServer server_;
  asio::io_context io_{1};
};

TEST_F(BusTest, DeliversInOrderWithSubjectAndExecutorThread) {
  const auto bus = connect();
  std::vector<std::string> received;
  const auto this_thread = std::this_thread::get_id();
  const Subscription subscription = bus->subscribe<Message>("t.*", [&](const Message& m, const BusMessage& raw) {
    EXPECT_EQ(std::this_thread::get_id(), this_thread);
    received.push_back(raw.subject + " " + m.request_id());
  });
  bus->publish("t.a", message("one"));
  bus->publish("t.b", message("two"));
  EXPECT_TRUE(run_until([&] { return received.size() == 2; }));
  EXPECT_THAT(received, ElementsAre("t.a one", "t.b two"));
  EXPECT_EQ(bus->counters().received, 2U);
  EXPECT_EQ(bus->counters().published, 2U);
}

TEST_F(BusTest, KeepsOrderOfManyOfEitherUrgency) {
  static constexpr uint32_t kCount = 20000;
  const auto sender = connect();
  const auto receiver = connect();
  for (const Urgency urgency : {Urgency::kNow, Urgency::kBatched}) {
    uint32_t next = 0;
    const Subscription subscription = receiver->subscribe<Message>("many", [&](const Message& m, const BusMessage&) {
      EXPECT_EQ(m.attempt(), next);
      ++next;
    });
    ASSERT_TRUE(await(receiver->flush(kTimeMax)));
    for (uint32_t i = 0; i < kCount; ++i) sender->publish("many", message("x", i), urgency);
    EXPECT_TRUE(run_until([&] { return next == kCount; })) << next;
  }
}

TEST_F(BusTest, QueueGroupSharesAndOthersGetAll) {
  static constexpr int kCount = 200;
  const auto a = connect();
  const auto b = connect();
  int of_a = 0;
  int of_b = 0;
  int of_watcher = 0;
  const auto count = [](int& counter) { return [&counter](const Message&, const BusMessage&) { ++counter; }; };
  const Subscription subscription_a = a->subscribe<Message>("work", count(of_a), "group");
  const Subscription subscription_b = b->subscribe<Message>("work", count(of_b), "group");
  const Subscription watcher = b->subscribe<Message>("work", count(of_watcher));
  ASSERT_TRUE(await(a->flush(kTimeMax)) && await(b->flush(kTimeMax)));
  for (int i = 0; i < kCount; ++i) a->publish("work", message("job"));
  EXPECT_TRUE(run_until([&] { return of_watcher == kCount && of_a + of_b >= kCount; }));
  EXPECT_EQ(of_a + of_b, kCount);
  EXPECT_GT(of_a, 0);
  EXPECT_GT(of_b, 0);
}

TEST_F(BusTest, RequestGetsItsOwnAnswer) {
  const auto client = connect();
  const auto service = connect();
  std::vector<BusMessage> waiting;
  const Subscription subscription = service->subscribe<Message>("ask", [&](const Message& m, const BusMessage& raw) {
    waiting.push_back(raw);
    if (waiting.size() < 2) return;
    service->respond(waiting[1], message(m.request_id() + "!"));  // the second is answered first
    service->respond(waiting[0], message("first!"));
  });
  ASSERT_TRUE(await(service->flush(kTimeMax)));
  const auto ask_both = [&]() -> asio::awaitable<bool> {
    using namespace asio::experimental::awaitable_operators;
    const auto [first, second] = co_await (client->request<Message>("ask", message("first"), kTimeMax) &&
                                           client->request<Message>("ask", message("second"), kTimeMax));
    EXPECT_EQ(first.request_id(), "first!");
    EXPECT_EQ(second.request_id(), "second!");
    co_return true;
  };
  await(ask_both());
}

TEST_F(BusTest, RequestFailsAtOnceWhenNobodyListens) {
  const auto bus = connect();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(request_error(*bus, "nobody", kTimeMax), ErrorCode::kUnavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - start, kTimeMax / 2);
}

TEST_F(BusTest, RequestTimesOutAndALateAnswerHarmsNobody) {
  const auto bus = connect();
  std::optional<BusMessage> asked;
  const Subscription subscription =
      bus->subscribe<Message>("slow", [&](const Message&, const BusMessage& raw) { asked = raw; });
  EXPECT_EQ(request_error(*bus, "slow", 50ms), ErrorCode::kDeadlineExceeded);
  ASSERT_TRUE(run_until([&] { return asked.has_value(); }));
  bus->respond(*asked, message("late"));
  EXPECT_TRUE(await(bus->flush(kTimeMax)));
}

TEST_F(BusTest, RequestWithMalformedAnswerIsInternal) {
  const auto bus = connect();
  const Subscription subscription =
      bus->subscribe<Message>("odd", [&](const Message&, const BusMessage& raw) { bus->respond(raw, malformed()); });
  EXPECT_EQ(request_error(*bus, "odd", kTimeMax), ErrorCode::kInternal);
}

TEST_F(BusTest, CancelledRequestEndsAndIsForgotten) {
  const auto bus = connect();
  bool asked = false;
  const Subscription subscription =
      bus->subscribe<Message>("never", [&](const Message&, const BusMessage&) { asked = true; });
  const auto race = [&]() -> asio::awaitable<bool> {
    using namespace asio::experimental::awaitable_operators;
    asio::steady_timer timer(co_await asio::this_coro::executor, 20ms);
    const auto winner =
        co_await (bus->request<Message>("never", message("?"), kTimeMax) || timer.async_wait(asio::use_awaitable));
    co_return winner.index() == 1;
  };
  EXPECT_TRUE(await(race()));
}

TEST_F(BusTest, MalformedIsDroppedAndCounted) {
  const auto bus = connect();
  std::vector<std::string> received;
  const Subscription subscription =
      bus->subscribe<Message>("m", [&](const Message& m, const BusMessage&) { received.push_back(m.request_id()); });
  bus->publish("m", malformed());
  bus->publish("m", message("good"));
  EXPECT_TRUE(run_until([&] { return received.size() == 1; }));
  EXPECT_EQ(bus->counters().malformed, 1U);
}

TEST_F(BusTest, HandlerExceptionIsCountedAndTheNextMessageComes) {
  const auto bus = connect();
  int calls = 0;
  const Subscription subscription = bus->subscribe<Message>("x", [&](const Message&, const BusMessage&) {
    if (++calls == 1) throw std::runtime_error("on purpose");
  });
  bus->publish("x", message("one"));
  bus->publish("x", message("two"));
  EXPECT_TRUE(run_until([&] { return calls == 2; }));
  EXPECT_EQ(bus->counters().handler_errors, 1U);
}

TEST_F(BusTest, ResetStopsDeliveryAtOnceEvenOfWhatHasArrived) {
  const auto bus = connect();
  int calls = 0;
  Subscription subscription;
  subscription = bus->subscribe<Message>("r", [&](const Message&, const BusMessage&) {
    ++calls;
    subscription.reset();  // of itself, while it runs
  });
  int others = 0;
  const Subscription other = bus->subscribe<Message>("r", [&](const Message&, const BusMessage&) { ++others; });
  for (int i = 0; i < 10; ++i) bus->publish("r", message("x"));
  EXPECT_TRUE(run_until([&] { return others == 10 && calls > 0; }));
  EXPECT_EQ(calls, 1);

  const auto owned = std::make_shared<int>(1);
  Subscription owner = bus->subscribe<Message>("r", [owned](const Message&, const BusMessage&) {});
  EXPECT_EQ(owned.use_count(), 2);
  owner.reset();
  EXPECT_EQ(owned.use_count(), 1);
}

TEST_F(BusTest, TheServerNoLongerSendsAfterReset) {
  const auto bus = connect();
  Subscription subscription = bus->subscribe<Message>(
      "gone", [&](const Message&, const BusMessage& raw) { bus->respond(raw, message("here")); });
  EXPECT_EQ(await(bus->request<Message>("gone", message("?"), kTimeMax)).request_id(), "here");
  subscription.reset();
  EXPECT_EQ(request_error(*bus, "gone", kTimeMax), ErrorCode::kUnavailable);
}

TEST_F(BusTest, SubscriptionMayOutliveItsBus) {
  auto bus = connect();
  Subscription subscription = bus->subscribe<Message>("late", [](const Message&, const BusMessage&) {});
  bus.reset();
  subscription.reset();
}

TEST_F(BusTest, OverflowIsDroppedAndCounted) {
  BusOptions options;
  options.subscription_pending_bytes_max = 8 * 1024;
  const auto receiver = connect(options);
  const auto sender = connect();
  uint32_t calls = 0;
  uint32_t last = 0;
  const Subscription subscription = receiver->subscribe<Message>("flood", [&](const Message& m, const BusMessage&) {
    ++calls;
    last = m.attempt();
  });
  ASSERT_TRUE(await(receiver->flush(kTimeMax)));
  static constexpr uint32_t kCount = 100;
  for (uint32_t i = 1; i <= kCount; ++i) sender->publish("flood", message(std::string(1024, 'x'), i));
  // Nobody runs the executor, as a handler that takes its time would not.
  const auto deadline = std::chrono::steady_clock::now() + kTimeMax;
  const auto all_came = [&] { return receiver->counters().received + receiver->counters().overflowed == kCount; };
  while (!all_came() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  const uint64_t dropped = receiver->counters().overflowed;
  EXPECT_GT(dropped, 0U);
  EXPECT_TRUE(run_until([&] { return calls == kCount - dropped; }));
  sender->publish("flood", message("after", kCount + 1));  // there is room again
  EXPECT_TRUE(run_until([&] { return last == kCount + 1; }));
}

TEST_F(BusTest, TooLargeOrBadlyAddressedIsAnError) {
  const auto bus = connect();
  const Message large = message(std::string(static_cast<size_t>(bus->payload_bytes_max()), 'x'));
  const auto code_of = [&](const std::string& subject, const Message& m) {
    try {
      bus->publish(subject, m);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code_of("large", large), ErrorCode::kResourceExhausted);
  for (const char* bad : {"", "a b", "a..b", ".a", "a.", "a.*", ">", "a\r\nPUB b 0", "a\tb"}) {
    EXPECT_EQ(code_of(bad, message("x")), ErrorCode::kInvalidArgument) << bad;
  }
  EXPECT_THROW(static_cast<void>(bus->subscribe<Message>("a b", [](const Message&, const BusMessage&) {})), Error);
  EXPECT_EQ(bus->counters().published, 0U);
}

TEST_F(BusTest, SubscriptionsAndPublishingSurviveARestart) {
  const auto bus = connect();
  std::vector<uint32_t> received;
  const Subscription subscription =
      bus->subscribe<Message>("s", [&](const Message& m, const BusMessage&) { received.push_back(m.attempt()); });
  ASSERT_TRUE(await(bus->flush(kTimeMax)));
  for (int round = 1; round <= 2; ++round) {
    received.clear();
    server_.kill();
    ASSERT_TRUE(run_until([&] { return !bus->connected(); }));
    EXPECT_EQ(request_error(*bus, "s", kTimeMax), ErrorCode::kUnavailable);
    bus->publish("s", message("while away", 1));  // kept until the server is back
    bus->publish("s", message("while away", 2));
    int added = 0;
    const Subscription made_meanwhile =
        bus->subscribe<Message>("s", [&](const Message&, const BusMessage&) { ++added; });
    server_.start();
    ASSERT_TRUE(run_until([&] { return bus->connected(); }));
    bus->publish("s", message("after", 3));
    EXPECT_TRUE(run_until([&] { return received.size() == 3 && added >= 1; }));
    EXPECT_THAT(received, ElementsAre(1, 2, 3));
    EXPECT_EQ(bus->counters().reconnects, static_cast<uint64_t>(round));
  }
}

TEST_F(BusTest, RequestUnderWayFailsWhenTheServerDies) {
  const auto bus = connect();
  const Subscription subscription =
      bus->subscribe<Message>("never", [&](const Message&, const BusMessage&) { server_.kill(); });
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(request_error(*bus, "never", kTimeMax), ErrorCode::kUnavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - start, kTimeMax / 2);
}

TEST_F(BusTest, WhileDisconnectedTheBufferIsBounded) {
  BusOptions options;
  options.reconnect_buffer_bytes_max = 64 * 1024;
  const auto bus = connect(options);
  server_.kill();
  ASSERT_TRUE(run_until([&] { return !bus->connected(); }));
  const auto publish_many = [&] {
    for (int i = 0; i < 100; ++i) bus->publish("b", message(std::string(1024, 'x')));
  };
  EXPECT_THROW(publish_many(), Error);
  EXPECT_GE(bus->counters().published, 50U);
  EXPECT_FALSE(await(bus->flush(20ms)));
}

TEST_F(BusTest, AServerThatHangsIsNoticedAndPublishersDoNotHang) {
  const auto bus = connect();
  server_.freeze();
  const Message large = message(std::string(512 * 1024, 'x'));
  const auto start = std::chrono::steady_clock::now();
  try {
    for (int i = 0; i < 64; ++i) bus->publish("h", large);  // more than the sockets and the buffer hold
    ADD_FAILURE() << "all was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_TRUE(run_until([&] { return !bus->connected(); }));
  server_.thaw();
  EXPECT_TRUE(run_until([&] { return bus->connected(); }));
  EXPECT_TRUE(await(bus->flush(kTimeMax)));
}

TEST_F(BusTest, StopHandsOutWhatCameAndSendsWhatWasPublished) {
  static constexpr uint64_t kCount = 50000;  // handling them outlasts the draining
  const auto stopped = connect();
  const auto other = connect();
  uint64_t handled = 0;
  uint64_t echoed = 0;
  const Subscription subscription = stopped->subscribe<Message>("in", [&](const Message& m, const BusMessage&) {
    ++handled;
    stopped->publish("out", m, Urgency::kBatched);
  });
  const Subscription echo = other->subscribe<Message>("out", [&](const Message&, const BusMessage&) { ++echoed; });
  ASSERT_TRUE(await(stopped->flush(kTimeMax)) && await(other->flush(kTimeMax)));
  for (uint64_t i = 0; i < kCount; ++i) other->publish("in", message("x"));
  const auto deadline = std::chrono::steady_clock::now() + kTimeMax;  // all has come, nothing has been handled
  while (stopped->counters().received < kCount && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();

  await(stopped->stop(kTimeMax));
  EXPECT_EQ(handled, kCount);
  EXPECT_EQ(stopped->counters().handler_errors, 0U);  // of publishing after the close
  EXPECT_FALSE(stopped->connected());
  EXPECT_TRUE(run_until([&] { return echoed == kCount; })) << echoed;
  EXPECT_THROW(stopped->publish("out", message("x")), Error);
  EXPECT_EQ(request_error(*other, "in", kTimeMax), ErrorCode::kUnavailable);
  await(stopped->stop(kTimeMax));
}

TEST_F(BusTest, StopReceivesWhatIsOnItsWay) {
  static constexpr int kCount = 2000;
  const auto stopped = connect();
  const auto other = connect();
  int handled = 0;
  const Subscription subscription = stopped->subscribe<Message>("in", [&](const Message& m, const BusMessage&) {
    ++handled;
    stopped->publish("out", m);
  });
  ASSERT_TRUE(await(stopped->flush(kTimeMax)));
  const Message large = message(std::string(16 * 1024, 'x'));  // 32 MiB in all: they do not come at once
  for (int i = 0; i < kCount; ++i) other->publish("in", large);
  const auto flush_then_stop = [&]() -> asio::awaitable<bool> {
    const bool flushed = co_await other->flush(kTimeMax);
    co_await stopped->stop(kTimeMax);
    co_return flushed;
  };
  EXPECT_TRUE(await(flush_then_stop()));
  EXPECT_EQ(handled, kCount);
  EXPECT_EQ(stopped->counters().handler_errors, 0U);
}

TEST_F(BusTest, StopIsBoundedWhenTheServerIsGone) {
  const auto bus = connect();
  server_.kill();
  ASSERT_TRUE(run_until([&] { return !bus->connected(); }));
  bus->publish("x", message("never sent"));
  const auto start = std::chrono::steady_clock::now();
  await(bus->stop(100ms));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

TEST_F(BusTest, TheDestructorSendsWhatWasPublished) {
  const auto receiver = connect();
  int calls = 0;
  const Subscription subscription =
      receiver->subscribe<Message>("bye", [&](const Message&, const BusMessage&) { ++calls; });
  ASSERT_TRUE(await(receiver->flush(kTimeMax)));
  connect()->publish("bye", message("x"), Urgency::kBatched);
  EXPECT_TRUE(run_until([&] { return calls == 1; }));
}

TEST_F(BusTest, PublishesFromSeveralThreads) {
  static constexpr int kThreads = 4;
  static constexpr uint32_t kCount = 1000;
  const auto bus = connect();
  std::vector<uint32_t> next(kThreads, 0);
  uint32_t total = 0;
  const Subscription subscription = bus->subscribe<Message>("p.*", [&](const Message& m, const BusMessage& raw) {
    EXPECT_EQ(m.attempt(), next[std::stoul(raw.subject.substr(2))]++);
    ++total;
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&bus, t] {
      for (uint32_t i = 0; i < kCount; ++i) bus->publish("p." + std::to_string(t), message("x", i));
    });
  }
  EXPECT_TRUE(run_until([&] { return total == kThreads * kCount; }));
  for (std::thread& thread : threads) thread.join();
}

TEST(BusConnect, NamesTheUrlButNoPasswordWhenNobodyAnswers) {
  asio::io_context io;
  BusOptions options;
  options.url = "nats://user:secret@127.0.0.1:1";
  options.connect_timeout = 100ms;
  try {
    const Bus bus(io.get_executor(), options);
    FAIL() << "connected";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
    EXPECT_THAT(error.what(), HasSubstr("nats://127.0.0.1:1"));
    EXPECT_THAT(error.what(), Not(HasSubstr("secret")));
  }
}

TEST(ReconnectWait, DoublesUpToTheMostWithHalfOfItRandom) {
  BusOptions options;
  options.reconnect_wait_min = 50ms;
  options.reconnect_wait_max = 2000ms;
  EXPECT_EQ(reconnect_wait(0, options, 0), 25ms);
  EXPECT_EQ(reconnect_wait(0, options, 0.99999), 50ms);
  EXPECT_EQ(reconnect_wait(1, options, 0.99999), 100ms);
  EXPECT_EQ(reconnect_wait(5, options, 0.99999), 1600ms);
  EXPECT_EQ(reconnect_wait(6, options, 0.99999), 2000ms);
  EXPECT_EQ(reconnect_wait(1000000, options, 0), 1000ms);
}

}  // namespace
}  // namespace bellwether::mesh
