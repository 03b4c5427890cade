#include "mesh/http_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "mesh/http_wire.h"

namespace bellwether::mesh {
namespace http = boost::beast::http;
namespace {

constexpr std::string_view kLastChunk = "0\r\n\r\n";

HttpRejection rejection_of(const boost::beast::error_code& error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return {431, "the request's header is too large"};
  }
  if (error == http::error::body_limit) return {413, "the request's body is too large"};
  return {400, fmt::format("malformed HTTP request: {}", error.message())};
}

uint32_t limit_of_32_bits(uint64_t limit) {
  return static_cast<uint32_t>(std::min<uint64_t>(limit, std::numeric_limits<uint32_t>::max()));
}

}  // namespace

class HttpParser::Impl {
 public:
  Impl(uint64_t header_bytes_max, uint64_t body_bytes_max) : header_bytes_max_(header_bytes_max) {
    parser_.header_limit(limit_of_32_bits(header_bytes_max));
    parser_.body_limit(body_bytes_max);
    parser_.eager(false);
  }

  size_t feed(std::string_view data) {
    const bool had_header = parser_.is_header_done();
    // With fewer bytes than the last chunk has, which are always still to come, an assertion of Beast's fails.
    if (had_header && parser_.chunked() && data.size() < kLastChunk.size()) return 0;
    boost::beast::error_code error;
    const size_t consumed = parser_.put(boost::asio::buffer(data.data(), data.size()), error);
    if (error && error != http::error::need_more) throw rejection_of(error);
    if (!had_header) header_bytes_ += consumed;
    // Beast's own limit holds for what it has not consumed yet: fields that come one by one would pass it, and so would
    // the extensions and the trailer of a chunked body.
    const bool stuck = consumed == 0 && data.size() >= header_bytes_max_;
    if (header_bytes_ > header_bytes_max_ || stuck) throw rejection_of(http::error::header_limit);
    if (!had_header && parser_.is_header_done()) {
      take_header();
      parser_.eager(true);
    }
    return consumed;
  }

  // Copies the header as soon as it is complete: Beast adds the trailer of a chunked body to the same fields, and a
  // trailer must not pass for a header.
  void take_header() {
    const auto& message = parser_.get();
    check_framing(message);
    request_.method = std::string(message.method_string());
    std::ranges::transform(request_.method, request_.method.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
    split_target(message.target());
    for (const auto& field : message) request_.headers.emplace_back(field.name_string(), field.value());
    keep_alive_ = message.keep_alive();
    http_1_0_ = message.version() == 10;
    const std::string_view expect = request_.header("Expect");
    if (expect.empty() || http_1_0_) return;
    if (!boost::beast::iequals(expect, "100-continue")) throw HttpRejection{417, "only 100-continue can be expected"};
    expects_continue_ = true;
  }

  // What Beast lets through although it leaves open where the body ends (RFC 9112, 6.1) or which host is meant (3.2).
  static void check_framing(const http::request<http::string_body>& message) {
    const auto encodings = message.equal_range(http::field::transfer_encoding);
    if (encodings.first != encodings.second) {
      if (message.version() == 10) throw HttpRejection{400, "HTTP/1.0 has no Transfer-Encoding"};
      const bool one = std::next(encodings.first) == encodings.second;
      if (!one || !boost::beast::iequals(encodings.first->value(), "chunked")) {
        throw HttpRejection{501, "the only Transfer-Encoding understood is chunked"};
      }
    }
    const size_t hosts = message.count(http::field::host);
    if (hosts > 1 || (hosts == 0 && message.version() == 11)) {
      throw HttpRejection{400, "a request needs one Host header"};
    }
  }

  void split_target(std::string_view target) {
    const size_t scheme = target.find("://");
    if (!target.starts_with('/') && scheme != std::string_view::npos) {  // absolute form, as a proxy sends it
      target.remove_prefix(std::min(target.find_first_of("/?", scheme + 3), target.size()));
    }
    const size_t question = target.find('?');
    if (question != std::string_view::npos) request_.query = std::string(target.substr(question + 1));
    std::optional<std::string> path = http_wire::percent_decode(target.substr(0, question));
    if (!path) throw HttpRejection{400, "the path has a bad percent escape"};
    request_.path = path->empty() ? "/" : *std::move(path);
  }

  const uint64_t header_bytes_max_;
  uint64_t header_bytes_ = 0;
  http::request_parser<http::string_body> parser_;
  HttpRequest request_;
  bool keep_alive_ = false;
  bool http_1_0_ = false;
  bool expects_continue_ = false;
};

HttpParser::HttpParser(uint64_t header_bytes_max, uint64_t body_bytes_max)
    : impl_(std::make_unique<Impl>(header_bytes_max, body_bytes_max)) {}
HttpParser::~HttpParser() = default;

size_t HttpParser::feed(std::string_view data) {
  return impl_->feed(data);
}
bool HttpParser::header_done() const {
  return impl_->parser_.is_header_done();
}
bool HttpParser::done() const {
  return impl_->parser_.is_done();
}
size_t HttpParser::body_bytes() const {
  return impl_->parser_.get().body().size();
}
bool HttpParser::keep_alive() const {
  return impl_->keep_alive_;
}
bool HttpParser::http_1_0() const {
  return impl_->http_1_0_;
}
bool HttpParser::expects_continue() const {
  return impl_->expects_continue_;
}

HttpRequest HttpParser::take() {
  impl_->request_.body = std::move(impl_->parser_.get().body());
  return std::move(impl_->request_);
}

}  // namespace bellwether::mesh
