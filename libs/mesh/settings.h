// Typed settings from one YAML file, the environment and flags, in that order of precedence, rising.
//
// A setting is declared once, with its name, a sentence, a default (the target's value), bounds and a unit; from that
// come `--help`, validation and the environment's names. A program has a section; the setting `kv-blocks` of section
// `worker` is
//
//   worker:                            in the YAML file (underscores)
//     kv_blocks: 512
//   BELLWETHER_WORKER_KV_BLOCKS=512    in the environment
//   --kv-blocks 512                    as a flag; also --kv-blocks=512; booleans also as --flag and --no-flag
//
// A list is a sequence in the file, separated by commas in the environment, and a flag given several times. What a
// later source says replaces an earlier one's whole list. A value that begins with "--" needs the form --flag=VALUE.
//
// Shared settings (shared = true) are the same for every service: top level of the file, BELLWETHER_NATS_URL.
// Unknown flags, unknown keys in the own section or at the top level, and unknown BELLWETHER_<SECTION>_* variables are
// errors; other services' sections are left alone.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mesh/error.h"
#include "mesh/setting_value.h"

namespace bellwether::mesh {

class Settings {
 public:
  using About = SettingAbout;
  using Target = SettingTarget;
  using Environment = std::map<std::string, std::string>;

  // `program` and `summary` head the help text; `section` is snake_case ("api_gateway") and not empty.
  Settings(std::string program, std::string section, std::string summary);

  // `name` is kebab-case. REQUIRES: `target` outlives parse(); no two settings of one name.
  void add(std::string name, Target target, About about);

  // Arguments that are not flags, in order ("MODEL"); none are taken unless declared. Optional when not `required`.
  void add_positional(std::string name, std::string* target, std::string sentence, bool required);

  enum class Outcome { kRun, kExit };  // kExit: --help or --version was printed to `out`

  // Reads the file named by --config or BELLWETHER_CONFIG, then `environment`, then `arguments` (without the program's
  // name). Throws Error{kInvalidArgument} whose field names the flag, variable or file and key at fault; targets
  // may then hold a part of the new values.
  Outcome parse(const std::vector<std::string>& arguments, const Environment& environment, std::string& out);

  // As above from main()'s arguments and environ, printing to standard output. On an error prints it with a hint at
  // --help to standard error. Returns the exit status when the program should end: 0, or 2 after an error.
  [[nodiscard]] std::optional<int> parse_main(int argc, char** argv);

  [[nodiscard]] std::string help() const;

 private:
  struct Setting {
    std::string name;
    Target target;
    About about;
    std::string default_text;
  };
  struct Positional {
    std::string name;
    std::string* target;
    std::string sentence;
    bool required;
  };
  struct GivenFlag {
    Setting* setting;
    std::string flag;  // as written, without its value
    std::string value;
  };
  struct CommandLine {
    std::optional<std::string> config_file;
    std::vector<GivenFlag> flags;
    std::vector<std::string> positionals;
  };

  Setting* find(std::string_view name);
  [[nodiscard]] std::string file_key(const Setting& setting) const;
  [[nodiscard]] std::string variable(const Setting& setting) const;
  [[nodiscard]] std::vector<std::string> flag_names() const;
  [[nodiscard]] std::string usage() const;

  CommandLine read_command_line(const std::vector<std::string>& arguments);
  void read_flag(const std::vector<std::string>& arguments, size_t& position, CommandLine& result);
  void read_file(const std::string& path, const std::string& origin);
  void read_environment(const Environment& environment);
  void apply_flags(const std::vector<GivenFlag>& flags);
  void apply_positionals(const std::vector<std::string>& values);

  std::string program_;
  std::string section_;
  std::string summary_;
  std::vector<Setting> settings_;
  std::vector<Positional> positionals_;
};

}  // namespace bellwether::mesh
