// One HTTP/1.1 request to a server that is known: no TLS, no redirects, a connection of its own.
#pragma once

#include <chrono>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "mesh/address.h"

namespace bellwether::mesh {

struct HttpPostResult {
  unsigned status = 0;     // 0 = there was no answer
  std::string error = {};  // why there was none
};

// Posts the body and reads the answer, of which only the status counts; one of more than 1 MiB counts as none. Takes
// `time_max` at most, but for the host's name to be resolved. Throws nothing.
boost::asio::awaitable<HttpPostResult> http_post(boost::asio::any_io_executor executor, Address address,
                                                 std::string path, std::string body, std::string content_type,
                                                 std::chrono::milliseconds time_max);

}  // namespace bellwether::mesh
