#include "scheduler/tenant_work.h"

#include <gtest/gtest.h>

#include <string>

namespace bellwether::scheduler {
namespace {

constexpr mesh::TimePoint kStart{std::chrono::hours(1)};

TEST(TenantWork, WritingCountsMoreThanReading) {
  TenantWork work;
  work.read("a", 100, kStart);
  work.written("a", 100, kStart);
  EXPECT_DOUBLE_EQ(work.work("a", kStart), 100 + 100 * TenantWork::kWrittenWeight);
  EXPECT_EQ(work.work("b", kStart), 0);
}

TEST(TenantWork, Fades) {
  TenantWork work;
  work.read("a", 100, kStart);
  EXPECT_DOUBLE_EQ(work.work("a", kStart + TenantWork::kHalfLife), 50);
  work.read("a", 50, kStart + TenantWork::kHalfLife);
  EXPECT_DOUBLE_EQ(work.work("a", kStart + 2 * TenantWork::kHalfLife), 50);
}

TEST(TenantWork, AShareIsOfAnEqualPart) {
  TenantWork work;
  EXPECT_EQ(work.share("a", kStart), 0);
  work.read("a", 300, kStart);
  EXPECT_DOUBLE_EQ(work.share("a", kStart), 1);
  work.read("b", 100, kStart);
  EXPECT_DOUBLE_EQ(work.share("a", kStart), 1.5);
  EXPECT_DOUBLE_EQ(work.share("b", kStart), 0.5);
  EXPECT_EQ(work.share("c", kStart), 0);
}

TEST(TenantWork, IdleTenantsAreForgotten) {
  TenantWork work;
  work.read("a", 100, kStart);
  work.forget_idle(kStart + TenantWork::kHalfLife);
  EXPECT_EQ(work.tenants(), 1u);
  work.forget_idle(kStart + 10 * TenantWork::kHalfLife);
  EXPECT_EQ(work.tenants(), 0u);
}

TEST(TenantWork, IsBoundedAndForgetsTheLeast) {
  TenantWork work;
  for (size_t i = 0; i < TenantWork::kTenantsMax; ++i) work.read(std::to_string(i), 10 + i, kStart);
  work.read("new", 5, kStart);
  EXPECT_EQ(work.tenants(), TenantWork::kTenantsMax);
  EXPECT_EQ(work.work("0", kStart), 0);
  EXPECT_EQ(work.work("new", kStart), 5);
}

}  // namespace
}  // namespace bellwether::scheduler
