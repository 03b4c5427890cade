// A blocking HTTP/1.1 client for tests: one connection a request, and bodies that can be read while they come.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/parse.hpp>

namespace bellwether::testing {

class HttpCall {
 public:
  // Sends the request and reads the head of the reply. `address` is 127.0.0.1:PORT.
  HttpCall(const std::string& address, const std::string& method, const std::string& path, const std::string& body = "",
           const std::vector<std::string>& header_lines = {}) {
    connect_to(address);
    std::string request = method + " " + path + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: " +
                          std::to_string(body.size()) + "\r\n";
    for (const std::string& line : header_lines) request += line + "\r\n";
    request += "\r\n" + body;
    if (::send(socket_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
      throw std::runtime_error("cannot send");
    }
  }
  ~HttpCall() { leave(); }
  HttpCall(const HttpCall&) = delete;
  HttpCall& operator=(const HttpCall&) = delete;

  // As a client that loses interest.
  void leave() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }

  unsigned status() {
    read_head();
    return status_;
  }
  std::string header(const std::string& lower_case_name) {
    read_head();
    const auto found = headers_.find(lower_case_name);
    return found == headers_.end() ? "" : found->second;
  }

  std::string body() {
    read_head();
    while (read_body_part()) {
    }
    return body_;
  }
  boost::json::value json() { return boost::json::parse(body()); }

  // The next event or comment of a stream, without its empty line; nullopt at the end.
  std::optional<std::string> next_event() {
    read_head();
    for (;;) {
      const size_t end = body_.find("\n\n", events_read_);
      if (end != std::string::npos) {
        std::string event = body_.substr(events_read_, end - events_read_);
        events_read_ = end + 2;
        return event;
      }
      if (!read_body_part()) return std::nullopt;
    }
  }

 private:
  void connect_to(const std::string& address) {
    const size_t colon = address.rfind(':');
    sockaddr_in target{};
    target.sin_family = AF_INET;
    target.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
    inet_pton(AF_INET, address.substr(0, colon).c_str(), &target.sin_addr);
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval wait_max{30, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &wait_max, sizeof wait_max);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
      throw std::runtime_error("cannot connect to " + address);
    }
  }

  bool receive() {
    char bytes[16384];
    const ssize_t count = ::recv(socket_, bytes, sizeof bytes, 0);
    if (count < 0) throw std::runtime_error("nothing came for 30 s");
    received_.append(bytes, static_cast<size_t>(count));
    return count > 0;
  }

  std::string take_line() {
    size_t end = 0;
    while ((end = received_.find("\r\n")) == std::string::npos) {
      if (!receive()) throw std::runtime_error("the connection ended in the middle of a reply");
    }
    std::string line = received_.substr(0, end);
    received_.erase(0, end + 2);
    return line;
  }

  void read_head() {
    if (status_ != 0) return;
    status_ = static_cast<unsigned>(std::stoi(take_line().substr(9, 3)));
    for (std::string line = take_line(); !line.empty(); line = take_line()) {
      const size_t colon = line.find(':');
      std::string name = line.substr(0, colon);
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      headers_[name] = line.substr(line.find_first_not_of(' ', colon + 1));
    }
  }

  // False when the body is complete.
  bool read_body_part() {
    if (complete_) return false;
    if (headers_["transfer-encoding"] == "chunked") {
      const size_t size = std::stoul(take_line(), nullptr, 16);
      while (received_.size() < size + 2) {
        if (!receive()) throw std::runtime_error("the connection ended in the middle of a chunk");
      }
      body_ += received_.substr(0, size);
      received_.erase(0, size + 2);
      complete_ = size == 0;
      return !complete_;
    }
    const size_t size = std::stoul(headers_["content-length"]);
    while (received_.size() < size) {
      if (!receive()) throw std::runtime_error("the connection ended in the middle of the body");
    }
    body_ = received_.substr(0, size);
    complete_ = true;
    return false;
  }

  int socket_ = -1;
  std::string received_;  // not yet read
  unsigned status_ = 0;
  std::map<std::string, std::string> headers_;
  std::string body_;
  size_t events_read_ = 0;
  bool complete_ = false;
};

}  // namespace bellwether::testing
