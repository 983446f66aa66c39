#include "http_response.h"

#include <algorithm>
#include <charconv>

namespace satsuma::client {

namespace {

bool is_name(std::string_view line, std::string_view name) {
  return line.size() == name.size() && std::equal(line.begin(), line.end(), name.begin(), [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return text.empty() || error != std::errc() || end != text.data() + text.size() ? std::nullopt : std::optional(value);
}

} // namespace

Result<void> HttpReader::append(ByteView bytes) {
  std::string_view text = as_text(bytes);
  if (!in_body_) {
    const std::size_t before = head_.size();
    head_.append(text.substr(0, max_http_head - before));
    const std::size_t end = head_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
    if (end == std::string::npos) return head_.size() == max_http_head ? Result<void>(http_too_large) : Result<void>();
    text.remove_prefix(end + 4 - before);
    in_body_ = true;
    head_.resize(end);
    SATSUMA_TRY_VOID(parse_head(head_));
  }
  // RFC 9112 s.6.3: what comes behind the length is no part of this response.
  if (length_) text = text.substr(0, *length_ - response_.body.size());
  if (text.size() > max_http_body - response_.body.size()) return http_too_large;
  response_.body.append(text);
  return {};
}

// RFC 9112 s.4 and s.5.
Result<void> HttpReader::parse_head(std::string_view head) {
  const std::size_t line_end = head.find("\r\n");
  const std::string_view status_line = head.substr(0, line_end);
  if (!status_line.starts_with("HTTP/1.") || status_line.size() < 12 || status_line[8] != ' ' || (status_line.size() > 12 && status_line[12] != ' ')) return http_malformed;
  const auto status = number<unsigned>(status_line.substr(9, 3));
  if (!status || *status < 100) return http_malformed;
  response_.status = *status;
  head = line_end == std::string_view::npos ? std::string_view() : head.substr(line_end + 2);
  while (!head.empty()) {
    const std::size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    head = end == std::string_view::npos ? std::string_view() : head.substr(end + 2);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return http_malformed;
    const std::string_view name = line.substr(0, colon), value = trimmed(line.substr(colon + 1));
    if (is_name(name, "transfer-encoding")) return http_unknown_coding;
    if (!is_name(name, "content-length")) continue;
    const auto length = number<std::size_t>(value);
    if (!length || (length_ && length_ != length)) return http_malformed;
    if (*length > max_http_body) return http_too_large;
    length_ = length;
  }
  return {};
}

Result<HttpResponse> HttpReader::finish() {
  if (!in_body_ || (length_ && !complete())) return http_incomplete;
  return std::move(response_);
}

} // namespace satsuma::client
