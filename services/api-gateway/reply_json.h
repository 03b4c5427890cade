// What both endpoints' replies share in their JSON.
#pragma once

#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "api-gateway/reply_format.h"

namespace bellwether::gateway {

// The JSON of chunks that differ in their choices only: all else is written once.
class ChunkFrame {
 public:
  // `usage_asked`: the client asked for a last chunk with the usage, and then all other chunks carry "usage": null.
  ChunkFrame(std::string_view object, const ReplyHead& head, bool usage_asked);

  [[nodiscard]] std::string chunk(const boost::json::object& choice) const;
  [[nodiscard]] std::string usage_chunk(const ReplyUsage& usage) const;

 private:
  std::string begin_;  // up to the choice
  std::string end_;    // from behind the choice
};

[[nodiscard]] boost::json::object reply_head(std::string_view object, const ReplyHead& head);
[[nodiscard]] boost::json::object usage_json(const ReplyUsage& usage);
[[nodiscard]] std::string_view finish_reason(ReplyEnd end);

}  // namespace bellwether::gateway
