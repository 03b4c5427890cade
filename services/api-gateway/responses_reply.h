// Replies of POST /v1/responses.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "api-gateway/reply_format.h"

namespace bellwether::gateway {

// A response is a list of items: reasoning, a message, and one for each call of a function. A stream tells each item's
// beginning, its pieces and its end, all numbered, and the response as it stands at the beginning and the end.
class ResponsesReply final : public ReplyFormat {
 public:
  // `echo`: what the response repeats of its request.
  ResponsesReply(ReplyHead head, boost::json::object echo, bool logprobs);

  void begin(std::string& out) override;
  void add(std::string& out, const ReplyPart& part) override;
  void finish(std::string& out, const ReplyUsage& usage) override;
  void fail(std::string& out, const Failure& failure) override;
  std::string whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) override;

 private:
  enum class Kind { kReasoning, kMessage, kCall };
  struct Item {
    Kind kind;
    std::string id;
    std::string text = {};  // or a call's arguments
    boost::json::array logprobs = {};
    std::string call_id = {};
    std::string name = {};  // of the function
  };

  void open(std::string& out, Kind kind, const CallDelta* call = nullptr);
  void close(std::string& out, std::string_view status);
  void append_text(std::string& out, std::string_view text, boost::json::array logprobs = {});
  void take_logprobs(const ReplyPart& part);
  // Appends an event with the type and the next number; `members` come after them.
  void append_event(std::string& out, std::string_view type, boost::json::object members);

  [[nodiscard]] static boost::json::object part_json(const Item& item);
  [[nodiscard]] static boost::json::object item_json(const Item& item, std::string_view status);
  [[nodiscard]] boost::json::object place_json() const;  // of the open item's content
  [[nodiscard]] boost::json::object response_json(std::string_view status) const;
  [[nodiscard]] boost::json::object ended_json(const ReplyUsage& usage) const;
  [[nodiscard]] bool cut_off() const { return end_ && end_->kind == EndKind::kLength; }

  ReplyHead head_;
  boost::json::object echo_;
  bool logprobs_;
  uint64_t sequence_ = 0;             // the next event's number
  boost::json::array output_;         // the items that have ended
  std::optional<Item> open_;          // comes after them
  boost::json::array held_logprobs_;  // of tokens whose text has not come yet
  std::optional<ReplyEnd> end_;
};

}  // namespace bellwether::gateway
