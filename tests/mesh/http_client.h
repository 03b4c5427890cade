// A plain blocking HTTP client on a raw socket, so that tests can send what no library would.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace bellwether::testing {

struct Answer {
  unsigned status = 0;
  std::string head;  // status line and header lines, lower case names as sent
  std::string body;  // decoded when it came in chunks

  [[nodiscard]] bool has(std::string_view text) const { return head.find(text) != std::string::npos; }
};

class RawClient {
 public:
  // `address` is 127.0.0.1:PORT. A small receive buffer makes the server's writes block early.
  explicit RawClient(const std::string& address, int receive_buffer_bytes = 0)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval wait_max{20, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &wait_max, sizeof wait_max);
    if (receive_buffer_bytes > 0) {
      setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
    }
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      ::close(socket_);
      throw std::runtime_error("cannot connect to " + address);
    }
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  void half_close() const { ::shutdown(socket_, SHUT_WR); }

  // False when the server has closed the connection.
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  bool request(const std::string& method, const std::string& path, const std::string& body = {}) const {
    return send(method + " " + path + " HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body);
  }

  // Reads until `text` has arrived, and takes everything up to its end.
  std::string read_through(std::string_view text) {
    for (;;) {
      const size_t at = received_.find(text);
      if (at != std::string::npos) return take(at + text.size());
      if (!receive())
        throw std::runtime_error("the connection ended before \"" + std::string(text) + "\": " + received_);
    }
  }

  std::string read_bytes(size_t count) {
    while (received_.size() < count) {
      if (!receive()) throw std::runtime_error("the connection ended in a body: " + received_);
    }
    return take(count);
  }

  // Everything up to the end of the connection. Throws when it does not end.
  std::string read_to_end() {
    while (receive()) {
    }
    return take(received_.size());
  }

  Answer read_answer(bool of_head_request = false) {
    Answer answer;
    answer.head = read_through("\r\n\r\n");
    answer.status = static_cast<unsigned>(std::stoi(answer.head.substr(answer.head.find(' ') + 1, 3)));
    if (of_head_request || answer.status < 200 || answer.status == 204) return answer;
    const size_t length = answer.head.find("Content-Length: ");
    if (length != std::string::npos) {
      answer.body = read_bytes(std::stoul(answer.head.substr(length + 16)));
    } else if (answer.has("Transfer-Encoding: chunked")) {
      while (true) {
        const std::string chunk = read_chunk();
        if (chunk.empty()) break;
        answer.body += chunk;
      }
    } else {
      answer.body = read_to_end();
    }
    return answer;
  }

  // One chunk; empty = the last one.
  std::string read_chunk() {
    const std::string size_line = read_through("\r\n");
    std::string chunk = read_bytes(std::stoul(size_line, nullptr, 16));
    if (read_bytes(2) != "\r\n") throw std::runtime_error("a chunk does not end with a line feed");
    return chunk;
  }

 private:
  std::string take(size_t count) {
    std::string taken = received_.substr(0, count);
    received_.erase(0, count);
    return taken;
  }

  // False at the end of the connection, however it ends.
  bool receive() {
    std::array<char, 65536> bytes;
    const ssize_t count = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) throw std::runtime_error("nothing came in 20 s");
    if (count <= 0) return false;
    received_.append(bytes.data(), static_cast<size_t>(count));
    return true;
  }

  int socket_;
  std::string received_;
};

}  // namespace bellwether::testing
