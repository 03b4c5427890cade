#include "autoscaler/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mesh/error.h"

namespace bellwether::autoscaler {
namespace {

using ::testing::ElementsAre;

AutoscalerSettings parse(const std::vector<std::string>& arguments) {
  AutoscalerSettings settings;
  mesh::Settings declared("bellwether-autoscaler", "autoscaler", "test");
  declare(declared, settings);
  std::string out;
  declared.parse(arguments, {}, out);
  validate(settings);
  return settings;
}

TEST(Settings, BecomeOptions) {
  const auto settings = parse({"--min-replicas", "2", "--max-replicas", "5", "--kv-cache-target", "0.7", "--tolerance",
                               "0.2", "--interval-ms", "500", "--scale-up-window-ms", "1000", "--scale-down-window-ms",
                               "2000", "--model-name", "nano"});
  const AutoscalerOptions options = options_of(settings);
  EXPECT_EQ(options.model, "nano");
  EXPECT_EQ(options.policy.replicas_min, 2);
  EXPECT_EQ(options.policy.replicas_max, 5);
  EXPECT_EQ(options.policy.kv_use_target, 0.7);
  EXPECT_EQ(options.policy.tolerance, 0.2);
  EXPECT_EQ(options.policy.scale_up_window.count(), 1000);
  EXPECT_EQ(options.policy.scale_down_window.count(), 2000);
  EXPECT_EQ(options.interval.count(), 500);
}

TEST(Settings, NameTheFlagAtFault) {
  const auto fault = [](const std::vector<std::string>& arguments) {
    try {
      parse(arguments);
      return std::string("none");
    } catch (const mesh::Error& error) {
      return error.field();
    }
  };
  EXPECT_EQ(fault({"--min-replicas", "3", "--max-replicas", "2"}), "--min-replicas");
  EXPECT_EQ(fault({"--supervise"}), "--model-name");
  EXPECT_EQ(fault({"--kv-cache-target", "0"}), "--kv-cache-target");
}

TEST(Settings, PassTheWorkersArgumentsOn) {
  const auto settings = parse({"--supervise", "--model-name", "nano", "--worker-program", "/bin/worker",
                               "--worker-argument=--model", "--worker-argument", "/models/nano", "--worker-ranks", "3"});
  mesh::ServiceSettings common;
  common.nats_url = "nats://127.0.0.1:5";
  EXPECT_THAT(
      supervisor_options(settings, common).command,
      ElementsAre("/bin/worker", "--served-model-name", "nano", "--nats-url", "nats://127.0.0.1:5", "--log-level",
                  "info", "--log-format", "auto", "--http", "127.0.0.1:0", "--model", "/models/nano"));
}

}  // namespace
}  // namespace bellwether::autoscaler
