// Which request the tokens that arrive belong to.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "api-gateway/token_inbox.h"
#include "bellwether/v1/generate.pb.h"

namespace bellwether::gateway {

// Lives on one single-threaded executor.
class StreamTable {
 public:
  // REQUIRES: no other stream has this id.
  void add(const std::string& request_id, std::shared_ptr<TokenInbox> inbox);
  void remove(const std::string& request_id);

  // Events that nobody waits for are dropped. Those that another one will follow are returned: the head works for
  // nobody, and does not know it.
  std::vector<const v1::TokenEvent*> deliver(const v1::TokenBatch& batch);

  void lose_all_on(const Head& head, const Failure& why);
  void interrupt_all(const Failure& failure);

  [[nodiscard]] size_t size() const { return streams_.size(); }

 private:
  std::unordered_map<std::string, std::shared_ptr<TokenInbox>> streams_;
};

}  // namespace bellwether::gateway
