#include "mesh/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "mesh/ids.h"

namespace bellwether::mesh {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// A program with one setting of each kind.
struct Program {
  std::string url = "nats://here";
  std::string format = "auto";
  std::string key = "s3cret";
  int64_t pin = 4711;
  bool supervise = true;
  int64_t blocks = 512;
  double target = 0.7;
  std::vector<std::string> arguments = {"built-in"};
  std::string model;
  std::string out;
  Settings settings{"bellwether-worker", "worker", "Computes tokens."};

  explicit Program(bool positional = false) {
    settings.add("nats-url", &url, {.sentence = "Where the bus is", .shared = true});
    settings.add("load-format", &format, {.sentence = "Kind of weights", .choices = {"auto", "safetensors"}});
    settings.add("api-key", &key, {.sentence = "Key of clients", .secret = true});
    settings.add("pin", &pin, {.sentence = "Number of clients", .min = 1, .secret = true});
    settings.add("supervise", &supervise, {.sentence = "Start workers"});
    settings.add("kv-blocks", &blocks, {.sentence = "Blocks kept", .unit = "blocks", .min = 1, .max = 1000000});
    settings.add("target", &target, {.sentence = "Use aimed at", .min = 0, .max = 1});
    settings.add("worker-argument", &arguments, {.sentence = "Passed on"});
    if (positional) settings.add_positional("MODEL", &model, "Folder of the model", true);
  }

  Settings::Outcome parse(const std::vector<std::string>& flags, const Settings::Environment& environment = {}) {
    return settings.parse(flags, environment, out);
  }

  // The error as a person sees it: "field: message".
  std::string error(const std::vector<std::string>& flags, const Settings::Environment& environment = {}) {
    try {
      parse(flags, environment);
    } catch (const Error& failure) {
      EXPECT_EQ(failure.code(), ErrorCode::kInvalidArgument);
      return failure.field() + ": " + failure.what();
    }
    return "";
  }
};

class SettingsFile : public ::testing::Test {
 protected:
  ~SettingsFile() override { std::filesystem::remove(path_); }

  const std::string& file(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    return path_;
  }

  // Of a file with this text, without the file's name.
  std::string error(const std::string& text) {
    std::string result = Program().error({"--config", file(text)});
    const size_t start = result.find(path_);
    return start == std::string::npos ? result : result.erase(start, path_.size());
  }

  const std::string path_ = (std::filesystem::temp_directory_path() / random_id("settings-test")).string();
};

TEST(Settings, WithoutAnyGivenTheDefaultsStay) {
  Program program;
  EXPECT_EQ(program.parse({}), Settings::Outcome::kRun);
  EXPECT_EQ(program.blocks, 512);
  EXPECT_THAT(program.arguments, ElementsAre("built-in"));
}

TEST(Settings, FlagsInBothFormsOfEveryKind) {
  Program program;
  program.parse({"--nats-url", "nats://a", "--load-format=safetensors", "--no-supervise", "--kv-blocks=7", "--target",
                 "1e-1", "--worker-argument=--x=y", "--worker-argument", "z,w"});
  EXPECT_EQ(program.url, "nats://a");
  EXPECT_EQ(program.format, "safetensors");
  EXPECT_FALSE(program.supervise);
  EXPECT_EQ(program.blocks, 7);
  EXPECT_DOUBLE_EQ(program.target, 0.1);
  EXPECT_THAT(program.arguments, ElementsAre("--x=y", "z,w"));

  program.parse({"--supervise", "--nats-url="});
  EXPECT_TRUE(program.supervise);
  EXPECT_EQ(program.url, "");
  program.parse({"--supervise=off", "--kv-blocks", "1", "--kv-blocks", "2"});
  EXPECT_FALSE(program.supervise);
  EXPECT_EQ(program.blocks, 2);
}

TEST(Settings, BadFlagsAreNamedAndTheNearestIsOffered) {
  Program program;
  EXPECT_EQ(program.error({"--kv-block", "3"}), "--kv-block: unknown flag; did you mean --kv-blocks?");
  EXPECT_EQ(program.error({"--no-superwise"}), "--no-superwise: unknown flag; did you mean --no-supervise?");
  EXPECT_EQ(program.error({"--entirely-different"}), "--entirely-different: unknown flag");
  EXPECT_EQ(program.error({"-x"}), "-x: unknown flag");
  EXPECT_EQ(program.error({"--no-kv-blocks"}), "--no-kv-blocks: unknown flag; did you mean --kv-blocks?");
  EXPECT_EQ(program.error({"--kv-blocks"}), "--kv-blocks: has no value");
  EXPECT_THAT(program.error({"--nats-url", "--target"}), HasSubstr("--nats-url: has no value"));
  EXPECT_EQ(program.error({"stray"}), "stray: unexpected argument");
}

TEST(Settings, NumbersAreWholeFiniteAndWithinBounds) {
  Program program;
  EXPECT_EQ(program.error({"--kv-blocks", "0"}), "--kv-blocks: must be 1 to 1000000 blocks, not 0");
  EXPECT_EQ(program.error({"--kv-blocks", "-1"}), "--kv-blocks: must be 1 to 1000000 blocks, not -1");
  EXPECT_EQ(program.error({"--kv-blocks", "1000000"}), "");
  for (const char* bad : {"", "1.5", "1x", " 1", "0x10", "99999999999999999999"}) {
    EXPECT_THAT(program.error({"--kv-blocks", bad}), HasSubstr("is not a whole number")) << bad;
  }
  for (const char* bad : {"", "nan", "inf", "1,5", "1.5.5", "1e999"}) {
    EXPECT_THAT(program.error({"--target", bad}), HasSubstr("is not a number")) << bad;
  }
  EXPECT_EQ(program.error({"--target", "1.01"}), "--target: must be 0 to 1, not 1.01");
  EXPECT_EQ(program.error({"--supervise=maybe"}), "--supervise: must be true or false, not 'maybe'");
  EXPECT_EQ(program.error({"--load-format", "safetensor"}),
            "--load-format: must be one of auto, safetensors, not 'safetensor'; did you mean safetensors?");
}

TEST(Settings, EnvironmentIsReadAndUnknownOwnVariablesAreErrors) {
  Program program;
  program.parse({}, {{"BELLWETHER_NATS_URL", "nats://e"},
                     {"BELLWETHER_WORKER_KV_BLOCKS", "9"},
                     {"BELLWETHER_WORKER_SUPERVISE", "no"},
                     {"BELLWETHER_WORKER_WORKER_ARGUMENT", "a,,b"},
                     {"BELLWETHER_SCHEDULER_ANYTHING", "of another program"},
                     {"BELLWETHER_TEST_DATA", "of nobody"}});
  EXPECT_EQ(program.url, "nats://e");
  EXPECT_EQ(program.blocks, 9);
  EXPECT_FALSE(program.supervise);
  EXPECT_THAT(program.arguments, ElementsAre("a", "", "b"));
  program.parse({}, {{"BELLWETHER_WORKER_WORKER_ARGUMENT", ""}});
  EXPECT_THAT(program.arguments, IsEmpty());
  EXPECT_EQ(program.error({}, {{"BELLWETHER_WORKER_KV_BLOCK", "9"}}),
            "BELLWETHER_WORKER_KV_BLOCK: unknown variable; did you mean BELLWETHER_WORKER_KV_BLOCKS?");
  EXPECT_THAT(program.error({}, {{"BELLWETHER_WORKER_KV_BLOCKS", "many"}}),
              HasSubstr("BELLWETHER_WORKER_KV_BLOCKS: 'many' is not a whole number"));
}

TEST_F(SettingsFile, IsReadAndOthersSectionsAreLeftAlone) {
  Program program;
  program.parse({"--config", file("nats_url: nats://f\n"
                                  "log_level: debug  # shared, though this program does not declare it\n"
                                  "api_gateway: {anything: [goes, {here: 1}]}\n"
                                  "worker:\n"
                                  "  kv_blocks: 11\n"
                                  "  target: 0.25\n"
                                  "  supervise: false\n"
                                  "  load_format: 'safetensors'\n"
                                  "  worker_argument: [--a, \"b, c\", 3]\n")});
  EXPECT_EQ(program.url, "nats://f");
  EXPECT_EQ(program.blocks, 11);
  EXPECT_DOUBLE_EQ(program.target, 0.25);
  EXPECT_FALSE(program.supervise);
  EXPECT_EQ(program.format, "safetensors");
  EXPECT_THAT(program.arguments, ElementsAre("--a", "b, c", "3"));
}

TEST_F(SettingsFile, EmptyOnesSayNothing) {
  for (const char* text : {"", "# only a comment\n", "---\n", "worker:\n", "worker: {}\n"}) {
    EXPECT_EQ(error(text), "") << text;
  }
}

TEST_F(SettingsFile, EnvironmentBeatsTheFileAndFlagsBeatBoth) {
  const std::string path = file("worker: {kv_blocks: 1, target: 0.1, worker_argument: [f]}\n");
  const Settings::Environment environment = {{"BELLWETHER_CONFIG", path},
                                             {"BELLWETHER_WORKER_KV_BLOCKS", "2"},
                                             {"BELLWETHER_WORKER_WORKER_ARGUMENT", "e1,e2"}};
  Program program;
  program.parse({}, environment);
  EXPECT_EQ(program.blocks, 2);
  EXPECT_DOUBLE_EQ(program.target, 0.1);
  EXPECT_THAT(program.arguments, ElementsAre("e1", "e2"));
  program.parse({"--kv-blocks", "3", "--worker-argument", "g"}, environment);
  EXPECT_EQ(program.blocks, 3);
  EXPECT_THAT(program.arguments, ElementsAre("g"));
  EXPECT_THAT(program.error({"--config", "/nonexistent.yaml"}, environment), HasSubstr("cannot read"));
}

TEST_F(SettingsFile, BadOnesAreErrorsThatNameTheKey) {
  EXPECT_EQ(error("worker: {kv_bloks: 1}"), ": worker.kv_bloks: unknown key; did you mean worker.kv_blocks?");
  EXPECT_EQ(error("worker: {kv-blocks: 1}"), ": worker.kv-blocks: unknown key; did you mean worker.kv_blocks?");
  EXPECT_EQ(error("wroker: {kv_blocks: 1}"), ": wroker: unknown key; did you mean worker?");
  EXPECT_EQ(error("worker: {nats_url: x}"), ": worker.nats_url: unknown key");
  EXPECT_EQ(error("worker: {kv_blocks: 0}"), ": worker.kv_blocks: must be 1 to 1000000 blocks, not 0");
  EXPECT_EQ(error("worker: {kv_blocks: }"), ": worker.kv_blocks: has no value");
  EXPECT_EQ(error("worker: {kv_blocks: [1]}"), ": worker.kv_blocks: must be a single value");
  EXPECT_EQ(error("worker: {kv_blocks: 1, kv_blocks: 2}"), ": worker: has the key 'kv_blocks' twice");
  EXPECT_EQ(error("worker: {worker_argument: a}"), ": worker.worker_argument: must be a list");
  EXPECT_EQ(error("worker: {worker_argument: [[a]]}"), ": worker.worker_argument: must be a list of texts");
  EXPECT_EQ(error("worker: 3"), ": worker: must be a map of keys to values");
  EXPECT_EQ(error("- a\n- b\n"), ": must be a map of keys to values");
  EXPECT_EQ(error("{[a, b]: c}"), ": has a key that is not text");
  EXPECT_EQ(error("worker: {}\n---\nworker: {}\n"), ": has more than one YAML document");
  EXPECT_THAT(error("worker: {kv_blocks: 1\nnats_url: [\n"), HasSubstr("is not YAML"));
}

TEST_F(SettingsFile, HostileOnesAreRefused) {
  EXPECT_THAT(error(std::string(1000000, ' ')), HasSubstr("larger than"));
  EXPECT_THAT(error(","), Not(IsEmpty()));
  EXPECT_THAT(error("worker: {kv_blocks: &a [*a]}"), Not(IsEmpty()));
  EXPECT_THAT(error(std::string(200000, '[')), Not(IsEmpty()));
  EXPECT_THAT(error(std::string("nats_url: a\0b: c", 16)), Not(HasSubstr(std::string(1, '\0'))));
  EXPECT_THAT(error("\"\\e[31m\\n\": 1"), HasSubstr("?[31m?"));
  EXPECT_THAT(Program().error({"--config", "/dev/zero"}), HasSubstr("larger than"));
  EXPECT_THAT(Program().error({"--config", "/"}), HasSubstr("cannot read"));
}

TEST_F(SettingsFile, SecretsAreNeverShown) {
  EXPECT_EQ(error("worker: {pin: hunter2}"), ": worker.pin: is not a whole number");
  Program program;
  EXPECT_EQ(program.error({"--pin", "-9876"}), "--pin: must be at least 1");
  EXPECT_THAT(program.error({"--api-kee=hunter2"}), Not(HasSubstr("hunter2")));
  EXPECT_THAT(program.settings.help(), Not(HasSubstr("s3cret")));
  EXPECT_THAT(program.settings.help(), Not(HasSubstr("4711")));
}

TEST(Settings, PositionalArguments) {
  Program program(true);
  EXPECT_EQ(program.error({}), "MODEL: is missing");
  program.parse({"--kv-blocks", "3", "folder", "--no-supervise"});
  EXPECT_EQ(program.model, "folder");
  program.parse({"--", "--odd"});
  EXPECT_EQ(program.model, "--odd");
  EXPECT_EQ(program.error({"a", "b"}), "b: unexpected argument");
}

TEST(Settings, HelpAndVersionEndTheProgram) {
  Program program(true);
  EXPECT_EQ(program.parse({"--kv-blocks", "none", "--help"}), Settings::Outcome::kExit);
  EXPECT_EQ(program.out, program.settings.help());
  EXPECT_EQ(program.parse({"--version"}), Settings::Outcome::kExit);
  EXPECT_EQ(program.out, "bellwether-worker " BELLWETHER_VERSION "\n");
}

TEST(Settings, HelpHasEverySettingWithinAHundredColumns) {
  Program program(true);
  std::string long_sentence = "It";
  for (int i = 0; i < 60; ++i) long_sentence += " goes on";
  int64_t number = 1;
  program.settings.add("a-name-longer-than-its-column", &number, {.sentence = long_sentence, .unit = "ms", .min = 5});
  program.blocks = 99;  // after the declaration: not the default
  const std::string help = program.settings.help();
  for (const char* part :
       {"bellwether-worker: Computes tokens.", "Usage: bellwether-worker [OPTION]... MODEL", "--kv-blocks NUMBER",
        "Blocks kept (1 to 1000000 blocks; default: 512)", "[worker.kv_blocks, BELLWETHER_WORKER_KV_BLOCKS]",
        "[nats_url, BELLWETHER_NATS_URL]", "--[no-]supervise", "one of auto, safetensors; default: auto",
        "may be repeated", "default: not shown", "at least 5 ms", "--config FILE", "--version"}) {
    EXPECT_THAT(help, HasSubstr(part));
  }
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100U) << line;
    EXPECT_TRUE(line.empty() || line.back() != ' ') << line;
  }
}

TEST(SettingsDeathTest, TwoOfOneNameAreABrokenProgram) {
  Program program;
  EXPECT_DEATH(program.settings.add("target", &program.target, {.sentence = "Again"}), "declared twice");
}

}  // namespace
}  // namespace bellwether::mesh
