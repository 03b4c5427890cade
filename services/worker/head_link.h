// A follower's stream to its head. Messages come out on an executor, one at a time; what goes in is sent in order.
// Hides gRPC's headers, which are slow to compile.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "bellwether/v1/replica.pb.h"

namespace bellwether::worker {

struct LinkEnd {
  enum class Why {
    kBroken,      // the head is not there, went away, or says that the group broke: join again
    kNeverFits,   // this follower does not belong there, and waiting does not help
    kTurnedAway,  // not now: its place is taken, or the versions differ
  };
  Why why = Why::kBroken;
  std::string message = {};
};

// Called on the executor.
struct HeadLinkHandlers {
  std::function<void(const v1::HeadMessage&)> on_message;
  std::function<void(LinkEnd)> on_end;  // the last call, once
};

// All methods belong to the executor's thread.
class HeadLink {
 public:
  // Begins to connect to HOST:PORT and joins with `hello`.
  HeadLink(const boost::asio::any_io_executor& executor, const std::string& head, v1::Hello hello,
           HeadLinkHandlers handlers);
  ~HeadLink();  // breaks the stream off; no handler is called any more
  HeadLink(const HeadLink&) = delete;
  HeadLink& operator=(const HeadLink&) = delete;

  // A report that could not be sent before the next one came is left out.
  void report(v1::RankReport report);

 private:
  class Stream;
  std::shared_ptr<Stream> stream_;
};

}  // namespace bellwether::worker
