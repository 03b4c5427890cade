// What a listener learns of a real worker's KV cache, from its events and its dumps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "worker/requests.h"
#include "worker/worker_mesh.h"

namespace bellwether::testing {
namespace {

// The blocks as a scheduler would keep them.
class Listener {
 public:
  // A message of events: those it knows already change nothing.
  void hear(const v1::KvEvents& message) {
    uint64_t number = message.first_number();
    for (const v1::KvEvent& event : message.events()) {
      if (number > last_number_) {
        EXPECT_EQ(number, last_number_ + 1) << "a gap";
        apply(event);
        last_number_ = number;
      }
      ++number;
    }
  }

  // Forgets what it knew for what a whole dump says.
  void read_dump(WorkerMesh& mesh) {
    blocks_.clear();
    v1::KvDumpRequest request;
    for (;;) {
      const auto chunk = mesh.ask<v1::KvDumpChunk>(mesh::subjects::replica_kv_dump(WorkerMesh::kReplica), request);
      ASSERT_EQ(chunk.error(), "");
      ASSERT_EQ(chunk.offset(), request.offset());
      last_number_ = chunk.last_number();
      for (const v1::KvEvent& event : chunk.events()) apply(event);
      request.set_snapshot(chunk.snapshot());
      request.set_offset(request.offset() + static_cast<uint64_t>(chunk.events_size()));
      if (request.offset() == chunk.events_total()) return;
    }
  }

  [[nodiscard]] const std::set<uint64_t>& blocks() const { return blocks_; }
  [[nodiscard]] uint64_t last_number() const { return last_number_; }

 private:
  void apply(const v1::KvEvent& event) {
    if (event.has_cleared()) blocks_.clear();
    for (const uint64_t hash : event.removed().block_hashes()) EXPECT_EQ(blocks_.erase(hash), 1u) << "never stored";
    uint64_t parent = event.stored().parent_hash();
    for (const uint64_t hash : event.stored().block_hashes()) {
      EXPECT_TRUE(parent == 0 || blocks_.contains(parent)) << "a child without its parent";
      EXPECT_TRUE(blocks_.insert(hash).second) << "stored twice";
      parent = hash;
    }
  }

  std::set<uint64_t> blocks_;
  uint64_t last_number_ = 0;
};

// A prompt of four blocks and some, of which the first two are those of all requests of the same family.
v1::GenerateRequest request_of_family(uint32_t family, uint32_t member) {
  std::vector<uint32_t> ids;
  for (uint32_t i = 0; i < 280; ++i) ids.push_back(2 + (i < 130 ? i * 7 + family * 131 : i * 11 + member * 17) % 2000);
  v1::GenerateRequest request =
      request_for("r-" + std::to_string(family) + "-" + std::to_string(member), ids, 20 + member * 10);
  request.set_ignore_eos(true);
  return request;
}

TEST(KvEvents, EventsAndDumpsTellTheSameOfTheCache) {
  WorkerMesh mesh({"--model", BELLWETHER_DEMO_MODEL, "--kv-blocks", "24"});
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  const auto run = [&](uint32_t families) {
    for (uint32_t family = 0; family < families; ++family) {
      for (uint32_t member = 0; member < 4; ++member) {
        ASSERT_TRUE(mesh.place(request_of_family(family, member)).has_placed());
      }
    }
  };
  const auto freed = [&](uint32_t families) {
    for (uint32_t family = 0; family < families; ++family) {
      for (uint32_t member = 0; member < 4; ++member) {
        ASSERT_TRUE(mesh.until_freed(request_of_family(family, member).request_id()));
      }
    }
  };
  run(5);
  ASSERT_TRUE(mesh.until_freed("r-1-0"));  // in the midst of the work
  Listener late;
  late.read_dump(mesh);
  const uint64_t joined_at = late.last_number();
  freed(5);

  Listener dumped;
  dumped.read_dump(mesh);
  Listener from_the_start;
  ASSERT_TRUE(mesh.until([&] {
    if (mesh.kv_events().empty()) return false;
    const v1::KvEvents& last = mesh.kv_events().back();
    return last.first_number() + static_cast<uint64_t>(last.events_size()) > dumped.last_number();
  }));
  for (const v1::KvEvents& message : mesh.kv_events()) {
    from_the_start.hear(message);
    late.hear(message);
  }
  EXPECT_LE(joined_at, dumped.last_number());
  EXPECT_FALSE(dumped.blocks().empty());
  EXPECT_LE(dumped.blocks().size(), 24u);
  EXPECT_EQ(from_the_start.blocks(), dumped.blocks());
  EXPECT_EQ(late.blocks(), dumped.blocks());
  const bool removed_some = std::any_of(mesh.kv_events().begin(), mesh.kv_events().end(), [](const auto& message) {
    return std::any_of(message.events().begin(), message.events().end(), [](const auto& e) { return e.has_removed(); });
  });
  EXPECT_TRUE(removed_some) << "the cache was too large for the test";
  EXPECT_NE(mesh.metric("vllm:prefix_cache_hits_total"), "0");
}

TEST(KvEvents, ADumpThatIsNotThereIsSaidSo) {
  WorkerMesh mesh({"--model", BELLWETHER_DEMO_MODEL});
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  v1::KvDumpRequest request;
  request.set_snapshot(77);
  EXPECT_NE(mesh.ask<v1::KvDumpChunk>(mesh::subjects::replica_kv_dump(WorkerMesh::kReplica), request).error(), "");
}

}  // namespace
}  // namespace bellwether::testing
