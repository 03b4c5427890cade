// Ranks as threads of one process: collectives over shared variables, for tests of what is built on them.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/ranks/collective.h"
#include "weights/float_formats.h"

namespace bellwether::engine {

class ThreadGroup {
 public:
  explicit ThreadGroup(int ranks) : parts_(static_cast<size_t>(ranks)) {}

  [[nodiscard]] std::unique_ptr<Collective> member(int rank) { return std::make_unique<Member>(*this, rank); }

 private:
  class Member final : public Collective {
   public:
    Member(ThreadGroup& group, int rank) : group_(group), rank_(rank) {}
    [[nodiscard]] int rank() const override { return rank_; }
    [[nodiscard]] int ranks() const override { return static_cast<int>(group_.parts_.size()); }

    void all_reduce(std::span<float> data) override {
      const auto parts = group_.exchange(rank_, std::as_bytes(data));
      std::vector<float> part(data.size());
      std::ranges::fill(data, 0.0F);
      for (size_t rank = 0; rank < parts.size(); ++rank) {
        std::memcpy(part.data(), parts[rank].data(), data.size_bytes());
        for (size_t i = 0; i < data.size(); ++i) data[i] = rank == 0 ? part[i] : data[i] + part[i];
      }
    }
    void all_reduce_bf16(std::span<uint16_t>) override { std::abort(); }  // no user yet
    void all_gather(std::span<const std::byte> mine, std::span<std::byte> out) override {
      auto to = out.begin();
      for (const auto& part : group_.exchange(rank_, mine)) to = std::ranges::copy(part, to).out;
    }
    void broadcast(std::span<std::byte> data, int root) override {
      const auto parts =
          group_.exchange(rank_, rank_ == root ? std::span<const std::byte>(data) : std::span<const std::byte>());
      if (parts[static_cast<size_t>(root)].size() != data.size()) throw GroupBroken("sizes differ");
      std::ranges::copy(parts[static_cast<size_t>(root)], data.begin());
    }
    void abort() override { group_.abort(); }

   private:
    ThreadGroup& group_;
    int rank_;
  };

  // What every rank gave.
  std::vector<std::vector<std::byte>> exchange(int rank, std::span<const std::byte> mine) {
    std::unique_lock lock(mutex_);
    parts_[static_cast<size_t>(rank)].assign(mine.begin(), mine.end());
    meet(lock);
    auto all = parts_;
    meet(lock);
    return all;
  }

  void meet(std::unique_lock<std::mutex>& lock) {
    const uint64_t meeting = meetings_;
    if (++here_ == parts_.size()) {
      here_ = 0;
      ++meetings_;
      met_.notify_all();
    }
    met_.wait(lock, [&] { return meetings_ != meeting || aborted_; });
    if (aborted_) throw GroupBroken("aborted");
  }

  void abort() {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    met_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable met_;
  std::vector<std::vector<std::byte>> parts_;
  size_t here_ = 0;
  uint64_t meetings_ = 0;
  bool aborted_ = false;
};

}  // namespace bellwether::engine
