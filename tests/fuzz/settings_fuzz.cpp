// Any file given as --config is read or refused with an Error; nothing else happens.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "mesh/settings.h"

using bellwether::mesh::Error;
using bellwether::mesh::ErrorCode;
using bellwether::mesh::Settings;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text;
  std::string secret;
  bool flag = false;
  int64_t number = 1;
  double fraction = 0.5;
  std::vector<std::string> list;
  Settings settings("program", "worker", "Summary");
  settings.add("http", &text, {.sentence = "Text", .shared = true});
  settings.add("key", &secret, {.sentence = "Secret", .secret = true});
  settings.add("on", &flag, {.sentence = "Flag"});
  settings.add("n", &number, {.sentence = "Number", .min = 1, .max = 100});
  settings.add("x", &fraction, {.sentence = "Fraction", .min = 0, .max = 1});
  settings.add("l", &list, {.sentence = "List"});

  static const int kFile = memfd_create("settings", MFD_CLOEXEC);
  static const std::string kPath = "/proc/self/fd/" + std::to_string(kFile);
  if (ftruncate(kFile, 0) != 0 || pwrite(kFile, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  try {
    std::string out;
    settings.parse({"--config", kPath}, {}, out);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidArgument || error.field().empty()) std::abort();
  }
  if (number < 1 || number > 100 || !(fraction >= 0 && fraction <= 1)) std::abort();
  return 0;
}
