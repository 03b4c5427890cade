#include "mesh/setting_file.h"

#include <yaml-cpp/anchor.h>
#include <yaml-cpp/eventhandler.h>

#include <fstream>
#include <sstream>

namespace bellwether::mesh {
namespace {

constexpr size_t kFileBytesMax = size_t{256} * 1024;

// Hears of a document and does nothing.
class Ignore : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

}  // namespace

std::string read_text_file(const std::string& path, const std::string& origin, size_t bytes_max) {
  std::ifstream file(path, std::ios::binary);
  std::string text(bytes_max + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad()) reject_setting(origin, "cannot read the file " + shown(path));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > bytes_max) {
    reject_setting(origin, fmt::format("the file {} is larger than {} bytes", shown(path), bytes_max));
  }
  return text;
}

// YAML::LoadAll would find documents without end in the text ",".
YAML::Node parse_yaml_document(const std::string& text, const std::string& path) {
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    Ignore ignore;
    const bool several = parser.HandleNextDocument(ignore) && parser.HandleNextDocument(ignore);
    if (several) reject_setting(path, "has more than one YAML document");
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    reject_setting(fmt::format("{}:{}:{}", path, error.mark.line + 1, error.mark.column + 1),
                   "is not YAML: " + error.msg);
  }
}

YAML::Node read_setting_file(const std::string& path, const std::string& origin) {
  return parse_yaml_document(read_text_file(path, origin, kFileBytesMax), path);
}

void assign_node(const SettingTarget& target, const SettingAbout& about, const YAML::Node& node,
                 const std::string& origin) {
  if (auto* list = as_list(target)) {
    if (!node.IsSequence()) reject_setting(origin, "must be a list");
    list->clear();
    for (const auto& element : node) {
      if (!element.IsScalar()) reject_setting(origin, "must be a list of texts");
      assign(target, about, element.Scalar(), origin);
    }
    return;
  }
  if (node.IsNull()) reject_setting(origin, "has no value");
  if (!node.IsScalar()) reject_setting(origin, "must be a single value");
  assign(target, about, node.Scalar(), origin);
}

}  // namespace bellwether::mesh
