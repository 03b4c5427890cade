// A stream in the middle of which something happens to the mesh.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <string>

#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "e2e/reference.h"

namespace bellwether::e2e {

// A stream of `tokens` from the chat URL, during which `disturb` is called once, on the test's own thread.
template <class Disturb>
StreamedReply stream_through(const std::string& url, int tokens, Disturb disturb) {
  constexpr int kEventsBefore = 5;
  std::promise<void> begun;
  auto reply = std::async(std::launch::async, [&] {
    return http_stream(url, endless_request(reference_cases()[0], tokens), [&](const StreamedReply& so_far) {
      if (so_far.text_events == kEventsBefore) begun.set_value();
      return true;
    });
  });
  if (begun.get_future().wait_for(kPatience) == std::future_status::ready) {
    disturb();
    EXPECT_NE(reply.wait_for(std::chrono::seconds(0)), std::future_status::ready)
        << "the stream ended before it could be disturbed";
  }
  return reply.get();
}

}  // namespace bellwether::e2e
