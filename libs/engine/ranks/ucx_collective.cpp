#include "engine/ranks/ucx_collective.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/invariant.h"
#include "engine/ranks/slices.h"
#include "engine/ranks/ucx_transport.h"
#include "weights/float_formats.h"

namespace bellwether::engine {
namespace {

constexpr size_t kAddressBytesMax = 1 << 16;
constexpr size_t kRanksMax = 1024;

// As long as a rank has no more than this to send, every rank gets all of every other rank's data and sums it up
// itself, which takes one exchange. Beyond it each sums up a part and hands it out: two exchanges, with less to send
// and add up.
constexpr int64_t kSentWholeBytesMax = 64 << 10;

float float_of(float value) {
  return value;
}
float float_of(uint16_t bits) {
  return weights::float_of_bf16(bits);
}
void put(float sum, float& to) {
  to = sum;
}
void put(float sum, uint16_t& to) {
  to = weights::bf16_of(sum);
}

}  // namespace

class UcxEndpoint::Impl {
 public:
  UcxWorker worker;
};

UcxEndpoint::UcxEndpoint() : impl_(std::make_unique<Impl>()) {}
UcxEndpoint::~UcxEndpoint() = default;
UcxEndpoint::UcxEndpoint(UcxEndpoint&&) noexcept = default;

const std::string& UcxEndpoint::address() const {
  return impl_->worker.address();
}

class UcxCollective::Impl {
 public:
  Impl(UcxEndpoint endpoint, int rank, std::span<const std::string> addresses, const UcxLimits& limits)
      : endpoint_(std::move(endpoint)),
        transport_(endpoint_.impl_->worker, rank, addresses),
        limits_(limits),
        parts_(addresses.size()) {}

  // Twice: the first messages may go by a way that UCX uses for meeting only.
  void meet() {
    std::vector<std::byte> all(static_cast<size_t>(transport_.ranks()));
    for (int i = 0; i < 2; ++i) exchange(std::span(all).first(1), all, limits_.connect);
  }

  template <class T>
  void all_reduce(std::span<T> data) {
    const int ranks = transport_.ranks();
    if ((ranks - 1) * static_cast<int64_t>(data.size_bytes()) <= kSentWholeBytesMax) {
      exchange_parts([&](int) { return data; }, data);
      return;
    }
    const auto part_of = [&](int rank) {
      const Slice slice = cut(std::ssize(data), 1, rank, ranks);
      return data.subspan(static_cast<size_t>(slice.begin), static_cast<size_t>(slice.size()));
    };
    exchange_parts(part_of, part_of(transport_.rank()));
    ++round_;
    for_each_peer([&](int peer) { transport_.receive(peer, round_, std::as_writable_bytes(part_of(peer))); });
    for_each_peer([&](int peer) { transport_.send(peer, round_, std::as_bytes(part_of(transport_.rank()))); });
    transport_.wait(limits_.progress);
  }

  void exchange(std::span<const std::byte> mine, std::span<std::byte> out, UcxTransport::Limit limit) {
    require(out.size() == mine.size() * static_cast<size_t>(transport_.ranks()), "all_gather of unequal sizes");
    const auto of = [&](int rank) { return out.subspan(static_cast<size_t>(rank) * mine.size(), mine.size()); };
    ++round_;
    for_each_peer([&](int peer) { transport_.receive(peer, round_, of(peer)); });
    for_each_peer([&](int peer) { transport_.send(peer, round_, mine); });
    if (!mine.empty()) std::memmove(of(transport_.rank()).data(), mine.data(), mine.size());
    transport_.wait(limit);
  }

  void broadcast(std::span<std::byte> data, int root) {
    ++round_;
    if (root == transport_.rank()) {
      for_each_peer([&](int peer) { transport_.send(peer, round_, data); });
      transport_.wait(limits_.progress);
    } else {
      transport_.receive(root, round_, data);
      transport_.wait(std::nullopt);
    }
  }

  [[nodiscard]] UcxTransport& transport() { return transport_; }
  [[nodiscard]] const UcxLimits& limits() const { return limits_; }

 private:
  template <class Call>
  void for_each_peer(Call call) {
    // Each begins with the rank after it, so that not all send to the same one first.
    for (int i = 1; i < transport_.ranks(); ++i) call((transport_.rank() + i) % transport_.ranks());
  }

  // Sends part_of(peer) to every peer, receives theirs of `mine`, and puts the sum into `mine`.
  template <class T, class PartOf>
  void exchange_parts(PartOf part_of, std::span<T> mine) {
    ++round_;
    for_each_peer([&](int peer) {
      std::vector<std::byte>& part = parts_[static_cast<size_t>(peer)];
      if (part.size() < mine.size_bytes()) part.resize(mine.size_bytes());
      transport_.receive(peer, round_, std::span(part).first(mine.size_bytes()));
    });
    for_each_peer([&](int peer) { transport_.send(peer, round_, std::as_bytes(part_of(peer))); });
    transport_.wait(limits_.progress);
    add_up(mine);
  }

  // mine = the sum of parts_ and itself, rank after rank.
  template <class T>
  void add_up(std::span<T> mine) {
    constexpr size_t kPiece = 1024;  // stays in the first-level cache
    float sums[kPiece];
    for (size_t begin = 0; begin < mine.size(); begin += kPiece) {
      const auto piece = mine.subspan(begin, std::min(kPiece, mine.size() - begin));
      for (int rank = 0; rank < transport_.ranks(); ++rank) {
        const T* part = rank == transport_.rank()
                            ? piece.data()
                            : reinterpret_cast<const T*>(parts_[static_cast<size_t>(rank)].data()) + begin;
        for (size_t i = 0; i < piece.size(); ++i) sums[i] = rank == 0 ? float_of(part[i]) : sums[i] + float_of(part[i]);
      }
      for (size_t i = 0; i < piece.size(); ++i) put(sums[i], piece[i]);
    }
  }

  UcxEndpoint endpoint_;
  UcxTransport transport_;
  UcxLimits limits_;
  uint64_t round_ = 0;                         // of messages, the same on every rank
  std::vector<std::vector<std::byte>> parts_;  // what each rank sent to be added up
};

std::unique_ptr<UcxCollective> UcxCollective::connect(UcxEndpoint endpoint, int rank,
                                                      std::span<const std::string> addresses, const UcxLimits& limits) {
  if (addresses.size() > kRanksMax) throw GroupBroken(fmt::format("{} ranks are too many", addresses.size()));
  if (rank < 0 || rank >= std::ssize(addresses)) throw GroupBroken(fmt::format("there is no rank {}", rank));
  for (const std::string& address : addresses) {
    if (address.empty() || address.size() > kAddressBytesMax) throw GroupBroken("a rank's address is none");
  }
  auto impl = std::make_unique<Impl>(std::move(endpoint), rank, addresses, limits);
  impl->meet();
  return std::unique_ptr<UcxCollective>(new UcxCollective(std::move(impl)));
}

UcxCollective::UcxCollective(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UcxCollective::~UcxCollective() = default;

int UcxCollective::rank() const {
  return impl_->transport().rank();
}
int UcxCollective::ranks() const {
  return impl_->transport().ranks();
}
void UcxCollective::all_reduce(std::span<float> data) {
  impl_->all_reduce(data);
}
void UcxCollective::all_reduce_bf16(std::span<uint16_t> data) {
  impl_->all_reduce(data);
}
void UcxCollective::all_gather(std::span<const std::byte> mine, std::span<std::byte> out) {
  impl_->exchange(mine, out, impl_->limits().progress);
}
void UcxCollective::broadcast(std::span<std::byte> data, int root) {
  impl_->broadcast(data, root);
}
void UcxCollective::abort() {
  impl_->transport().abort();
}
std::string UcxCollective::transports() const {
  return impl_->transport().transports();
}

}  // namespace bellwether::engine
