// Token buckets, and the limits of keys that several gateways count together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>
#include <vector>

#include "api-gateway/access/key_limits.h"
#include "api-gateway/access/limit_headers.h"
#include "api-gateway/access/token_bucket.h"

namespace bellwether::gateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr mesh::TimePoint kBegin{seconds(1000)};

TEST(TokenBucket, AMinutesWorthAtOnceAndThenEvenly) {
  TokenBucket bucket(60, kBegin);
  EXPECT_TRUE(bucket.try_take(60, kBegin));
  EXPECT_FALSE(bucket.try_take(1, kBegin));
  EXPECT_EQ(bucket.time_until(1, kBegin), seconds(1));
  EXPECT_FALSE(bucket.try_take(1, kBegin + milliseconds(999)));
  EXPECT_TRUE(bucket.try_take(1, kBegin + seconds(1)));
  EXPECT_FALSE(bucket.try_take(11, kBegin + seconds(11)));
  EXPECT_TRUE(bucket.try_take(10, kBegin + seconds(11)));
  EXPECT_EQ(bucket.level(kBegin + minutes(10)), 60);
}

TEST(TokenBucket, WhatIsOwedIsMadeUpFirst) {
  TokenBucket bucket(60, kBegin);
  bucket.take(90, kBegin);
  EXPECT_EQ(bucket.level(kBegin), -30);
  EXPECT_EQ(bucket.time_until(1, kBegin), seconds(31));
  bucket.take(-40, kBegin);
  EXPECT_EQ(bucket.level(kBegin), 10);
  bucket.take(-1000, kBegin);
  EXPECT_EQ(bucket.level(kBegin), 60);
  bucket.lower_to(5, kBegin);
  EXPECT_EQ(bucket.level(kBegin), 5);
  bucket.lower_to(50, kBegin);
  EXPECT_EQ(bucket.level(kBegin), 5);
}

TEST(TokenBucket, TimeThatGoesBackGivesNothing) {
  TokenBucket bucket(60, kBegin);
  EXPECT_TRUE(bucket.try_take(60, kBegin));
  EXPECT_FALSE(bucket.try_take(1, kBegin - seconds(30)));
  EXPECT_TRUE(bucket.try_take(1, kBegin + seconds(1)));
}

TEST(TokenBucket, ANewLimitForgivesNothing) {
  TokenBucket bucket(60, kBegin);
  bucket.take(50, kBegin);
  bucket.set_per_minute(100, kBegin);
  EXPECT_EQ(bucket.level(kBegin), 50);
  bucket.set_per_minute(30, kBegin);
  EXPECT_EQ(bucket.level(kBegin), -20);
}

mesh::ApiKey key_of(const std::string& id, int64_t requests, int64_t tokens, int64_t concurrency = 0) {
  return {.id = id,
          .tenant = "tenant",
          .requests_per_minute = requests,
          .tokens_per_minute = tokens,
          .concurrency = concurrency};
}

KeyLimits limits_of(const std::string& gateway, const std::vector<mesh::ApiKey>& keys) {
  KeyLimits limits(gateway);
  limits.set_keys(keys, kBegin);
  return limits;
}

std::optional<DenialReason> reason_of(const std::optional<Denial>& denial) {
  return denial ? std::optional(denial->reason) : std::nullopt;
}

TEST(KeyLimits, EachLimitDeniesWithItsReason) {
  KeyLimits limits = limits_of("a", {key_of("k", 3, 1000, 2)});
  EXPECT_EQ(limits.admit("k", 400, kBegin), std::nullopt);
  EXPECT_EQ(reason_of(limits.admit("k", 1001, kBegin)), DenialReason::kTooManyTokens);
  const auto tokens = limits.admit("k", 700, kBegin);
  EXPECT_EQ(reason_of(tokens), DenialReason::kTokens);
  EXPECT_EQ(tokens->limit, 1000);
  EXPECT_EQ(tokens->used, 400);
  EXPECT_EQ(tokens->retry_after, seconds(6));
  EXPECT_EQ(limits.admit("k", 100, kBegin), std::nullopt);
  EXPECT_EQ(reason_of(limits.admit("k", 1, kBegin)), DenialReason::kConcurrency);
  limits.end("k", 100, 100, kBegin);
  EXPECT_EQ(limits.admit("k", 100, kBegin), std::nullopt);
  limits.end("k", 100, 100, kBegin);
  const auto requests = limits.admit("k", 1, kBegin);
  EXPECT_EQ(reason_of(requests), DenialReason::kRequests);
  EXPECT_EQ(requests->retry_after, seconds(20));
  EXPECT_EQ(limits.state("k", kBegin).requests.remaining, 0);
  EXPECT_EQ(limits.state("k", kBegin).tokens.remaining, 400);
}

TEST(KeyLimits, WhatWasNotUsedIsGivenBackAndMoreIsOwed) {
  KeyLimits limits = limits_of("a", {key_of("k", 0, 1000)});
  EXPECT_EQ(limits.admit("k", 800, kBegin), std::nullopt);
  limits.end("k", 800, 100, kBegin);
  EXPECT_EQ(limits.state("k", kBegin).tokens.remaining, 900);
  EXPECT_EQ(limits.admit("k", 100, kBegin), std::nullopt);
  limits.end("k", 100, 1500, kBegin);
  EXPECT_EQ(limits.state("k", kBegin).tokens.remaining, 0);
  EXPECT_EQ(limits.admit("k", 1, kBegin)->retry_after, milliseconds(36060));  // 600 owed and 1 wanted
}

TEST(KeyLimits, KeysWithoutLimitsAndKeysThatAreGone) {
  KeyLimits limits = limits_of("a", {key_of("free", 0, 0)});
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(limits.admit("free", 1'000'000, kBegin), std::nullopt);
  EXPECT_EQ(limits.state("free", kBegin).requests.limit, 0);
  EXPECT_EQ(limits.admit("gone", 5, kBegin), std::nullopt);
  limits.end("gone", 5, 5, kBegin);
  EXPECT_EQ(limits.running("gone", kBegin), 0);
}

TEST(KeyLimits, AChangedFileForgivesNothing) {
  KeyLimits limits = limits_of("a", {key_of("k", 0, 1000)});
  EXPECT_EQ(limits.admit("k", 900, kBegin), std::nullopt);
  limits.set_keys({key_of("k", 0, 1000), key_of("new", 0, 10)}, kBegin);
  EXPECT_EQ(limits.state("k", kBegin).tokens.remaining, 100);
  EXPECT_EQ(limits.state("new", kBegin).tokens.remaining, 10);
}

TEST(KeyLimits, GatewaysCountTogether) {
  KeyLimits a = limits_of("a", {key_of("k", 10, 1000, 3)});
  KeyLimits b = limits_of("b", {key_of("k", 10, 1000, 3)});
  EXPECT_EQ(a.take_update(true), std::nullopt);
  EXPECT_EQ(a.admit("k", 300, kBegin), std::nullopt);
  EXPECT_EQ(a.admit("k", 300, kBegin), std::nullopt);
  const auto update = a.take_update(false);
  ASSERT_TRUE(update);
  EXPECT_EQ(a.take_update(false), std::nullopt);
  b.apply(*update, kBegin);
  EXPECT_EQ(b.state("k", kBegin).tokens.remaining, 400);
  EXPECT_EQ(b.state("k", kBegin).requests.remaining, 8);
  EXPECT_EQ(b.running("k", kBegin), 2);
  b.apply(*update, kBegin);  // the same once more
  EXPECT_EQ(b.state("k", kBegin).tokens.remaining, 400);
  a.apply(*update, kBegin);  // its own
  EXPECT_EQ(a.state("k", kBegin).tokens.remaining, 400);
  a.end("k", 300, 50, kBegin);
  b.apply(*a.take_update(false), kBegin);
  EXPECT_EQ(b.state("k", kBegin).tokens.remaining, 650);
  EXPECT_EQ(b.running("k", kBegin), 1);
}

TEST(KeyLimits, ALostMessageIsMadeGoodByTheNext) {
  KeyLimits a = limits_of("a", {key_of("k", 0, 1000)});
  KeyLimits b = limits_of("b", {key_of("k", 0, 1000)});
  EXPECT_EQ(a.admit("k", 100, kBegin), std::nullopt);
  b.apply(*a.take_update(false), kBegin);
  EXPECT_EQ(a.admit("k", 200, kBegin), std::nullopt);
  const auto lost = a.take_update(false);
  EXPECT_EQ(a.admit("k", 300, kBegin), std::nullopt);
  b.apply(*a.take_update(false), kBegin);
  EXPECT_EQ(b.state("k", kBegin).tokens.remaining, 400);
  b.apply(*lost, kBegin);  // late
  EXPECT_EQ(b.state("k", kBegin).tokens.remaining, 400);
}

TEST(KeyLimits, ANewGatewayStartsWhereTheOthersAre) {
  KeyLimits a = limits_of("a", {key_of("k", 10, 1000), key_of("unused", 10, 10)});
  EXPECT_EQ(a.admit("k", 600, kBegin), std::nullopt);
  (void)a.take_update(false);
  EXPECT_EQ(a.levels(kBegin).keys_size(), 1);
  KeyLimits b = limits_of("b", {key_of("k", 10, 1000), key_of("unused", 10, 10)});
  b.apply(a.levels(kBegin), kBegin);
  EXPECT_EQ(b.state("k", kBegin).tokens.remaining, 400);
  EXPECT_EQ(b.state("k", kBegin).requests.remaining, 9);
  EXPECT_EQ(b.state("unused", kBegin).requests.remaining, 10);
  // What it hears of an old use that it has in the levels already does not count again.
  EXPECT_EQ(a.admit("k", 100, kBegin), std::nullopt);
  b.apply(*a.take_update(false), kBegin);
  EXPECT_EQ(b.state("k", kBegin).tokens.remaining, 300);
}

TEST(KeyLimits, RequestsOfASilentGatewayCountNoMore) {
  KeyLimits a = limits_of("a", {key_of("k", 0, 0, 1)});
  KeyLimits b = limits_of("b", {key_of("k", 0, 0, 1)});
  EXPECT_EQ(a.admit("k", 1, kBegin), std::nullopt);
  b.apply(*a.take_update(false), kBegin);
  EXPECT_EQ(reason_of(b.admit("k", 1, kBegin)), DenialReason::kConcurrency);
  const mesh::TimePoint later = kBegin + KeyLimits::kSilenceMax;
  b.apply(*a.take_update(true), later);
  EXPECT_EQ(reason_of(b.admit("k", 1, later + seconds(2))), DenialReason::kConcurrency);
  EXPECT_EQ(b.admit("k", 1, later + KeyLimits::kSilenceMax + milliseconds(1)), std::nullopt);
}

// Gateways and the bus between them, in which each message takes its time.
class Gateways {
 public:
  Gateways(int count, const mesh::ApiKey& key, milliseconds bus_delay) : bus_delay_(bus_delay) {
    for (int i = 0; i < count; ++i) gateways_.push_back(limits_of(std::to_string(i), {key}));
  }

  [[nodiscard]] KeyLimits& at(size_t gateway) { return gateways_[gateway]; }
  [[nodiscard]] size_t size() const { return gateways_.size(); }

  void tell(size_t gateway, mesh::TimePoint now) {
    if (auto update = gateways_[gateway].take_update(false)) on_the_way_.push_back({now + bus_delay_, *update});
  }
  void deliver(mesh::TimePoint now) {
    while (!on_the_way_.empty() && on_the_way_.front().first <= now) {
      for (KeyLimits& gateway : gateways_) gateway.apply(on_the_way_.front().second, now);
      on_the_way_.pop_front();
    }
  }

 private:
  milliseconds bus_delay_;
  std::vector<KeyLimits> gateways_;
  std::deque<std::pair<mesh::TimePoint, v1::KeyUses>> on_the_way_;
};

// The promise of key_limits.h, under bursts at random: in no time of t minutes more than limit * (1 + t), and what was
// admitted elsewhere during one delay of the bus.
TEST(KeyLimits, SeveralGatewaysAdmitNoMoreThanOneWould) {
  constexpr milliseconds kBusDelay{3};
  constexpr double kPerMinute = 60000;
  std::mt19937 random(7);
  for (const size_t count : {size_t{1}, size_t{2}, size_t{5}}) {
    Gateways gateways(static_cast<int>(count), key_of("k", 0, static_cast<int64_t>(kPerMinute)), kBusDelay);
    struct Use {
      mesh::TimePoint at;
      double tokens;
    };
    struct Running {
      size_t gateway;
      int64_t reserved;
      int64_t used;
      mesh::TimePoint ends;
    };
    std::vector<Use> uses;
    std::vector<Running> running;
    double admitted_in_one_delay = 0;
    std::deque<Use> recent;
    for (int64_t ms = 0; ms < 180'000; ++ms) {
      const mesh::TimePoint now = kBegin + milliseconds(ms);
      gateways.deliver(now);
      std::erase_if(running, [&](const Running& each) {
        if (each.ends > now) return false;
        gateways.at(each.gateway).end("k", each.reserved, each.used, now);
        uses.push_back({now, static_cast<double>(each.used - each.reserved)});
        return true;
      });
      const bool burst = ms / 500 % 7 == 0;
      for (unsigned i = 0; i < (burst ? 20U : random() % 2); ++i) {
        const size_t gateway = random() % count;
        const auto reserved = static_cast<int64_t>(20 + random() % 200);
        if (gateways.at(gateway).admit("k", reserved, now)) continue;
        uses.push_back({now, static_cast<double>(reserved)});
        recent.push_back(uses.back());
        running.push_back({gateway, reserved, static_cast<int64_t>(random() % static_cast<uint64_t>(reserved)),
                           now + milliseconds(random() % 5000)});
      }
      while (!recent.empty() && recent.front().at + kBusDelay < now) recent.pop_front();
      double in_delay = 0;
      for (const Use& use : recent) in_delay += use.tokens;
      admitted_in_one_delay = std::max(admitted_in_one_delay, in_delay);
      for (size_t gateway = 0; gateway < count; ++gateway) gateways.tell(gateway, now);
    }
    const double overshoot = count == 1 ? 0 : admitted_in_one_delay;
    double in_all = 0;
    double worst = 0;  // of all that began at any time before: use - limit * t
    double lowest = 0;
    for (const Use& use : uses) {
      const double t = std::chrono::duration<double, std::ratio<60>>(use.at - kBegin).count();
      lowest = std::min(lowest, in_all - kPerMinute * t);
      in_all += use.tokens;
      worst = std::max(worst, in_all - kPerMinute * t - lowest);
    }
    EXPECT_LE(worst, kPerMinute + overshoot + 1) << count << " gateways";
    // And the limit is used, not only kept.
    EXPECT_GE(in_all, kPerMinute * 3.5) << count << " gateways";
  }
}

TEST(LimitHeaders, AreOpenAIs) {
  EXPECT_EQ(reset_text(milliseconds(0)), "0ms");
  EXPECT_EQ(reset_text(std::chrono::microseconds(119500)), "120ms");
  EXPECT_EQ(reset_text(seconds(1)), "1s");
  EXPECT_EQ(reset_text(milliseconds(1001)), "2s");
  EXPECT_EQ(reset_text(minutes(6)), "6m0s");
  EXPECT_EQ(reset_text(seconds(3723)), "1h2m3s");
  EXPECT_TRUE(limit_headers({}).empty());
  EXPECT_THAT(limit_headers({.requests = {.limit = 60, .remaining = 59, .reset = seconds(1)},
                             .tokens = {.limit = 1000, .remaining = 0, .reset = minutes(1)}}),
              ElementsAre(Pair("x-ratelimit-limit-requests", "60"), Pair("x-ratelimit-remaining-requests", "59"),
                          Pair("x-ratelimit-reset-requests", "1s"), Pair("x-ratelimit-limit-tokens", "1000"),
                          Pair("x-ratelimit-remaining-tokens", "0"), Pair("x-ratelimit-reset-tokens", "1m0s")));
}

TEST(LimitHeaders, EveryDenialIsA429ThatSaysWhatToDo) {
  for (const DenialReason reason : {DenialReason::kRequests, DenialReason::kTokens, DenialReason::kConcurrency}) {
    const Failure failure =
        failure_of(Denial{.reason = reason, .limit = 5, .used = 5, .retry_after = milliseconds(1500)}, 9);
    EXPECT_EQ(failure.status, 429U);
    EXPECT_EQ(failure.retry_after, milliseconds(1500));
  }
  const Failure hopeless = failure_of(Denial{.reason = DenialReason::kTooManyTokens, .limit = 5}, 9);
  EXPECT_EQ(hopeless.status, 429U);
  EXPECT_EQ(hopeless.retry_after.count(), 0);
  EXPECT_THAT(hopeless.message, HasSubstr("max_tokens"));
}

}  // namespace
}  // namespace bellwether::gateway
