#include "worker/ucx_rank_endpoint.h"

#include <cstdlib>
#include <utility>

#include "engine/ranks/ucx_collective.h"
#include "mesh/log.h"

namespace bellwether::worker {
namespace {

// All ranks are told to connect at the same time.
constexpr std::chrono::milliseconds kConnectTimeMax{3000};

class UcxRankEndpoint final : public RankEndpoint {
 public:
  [[nodiscard]] std::string address() const override { return endpoint_.address(); }

  [[nodiscard]] std::unique_ptr<engine::Collective> connect(const GroupPlace& place) override {
    auto group = engine::UcxCollective::connect(std::move(endpoint_), place.rank, place.addresses,
                                                {.connect = kConnectTimeMax, .progress = place.stall_limit});
    mesh::log::info("connected to the other ranks",
                    {{"epoch", place.epoch}, {"rank", place.rank}, {"transports", group->transports()}});
    return group;
  }

 private:
  engine::UcxEndpoint endpoint_;
};

}  // namespace

std::unique_ptr<RankEndpoint> open_ucx_endpoint() {
  return std::make_unique<UcxRankEndpoint>();
}

void keep_ucx_on_this_machine() {
  ::setenv("UCX_NET_DEVICES", "lo", /*overwrite=*/0);
}

}  // namespace bellwether::worker
