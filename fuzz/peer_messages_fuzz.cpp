// What another forwarding unit answers by HTTP: bounded, how the bytes are cut makes no difference, and what is taken of it can be given back.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "http_response.h"
#include "janus_messages.h"

using namespace satsuma;
using namespace satsuma::client;

namespace {

Result<HttpResponse> read(ByteView bytes, std::size_t piece) {
  HttpReader reader;
  while (!bytes.empty() && !reader.complete()) {
    const ByteView part = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(part.size());
    SATSUMA_TRY_VOID(reader.append(part));
  }
  return reader.finish();
}

void take(std::string_view body) {
  const auto messages = parse_janus_messages(body);
  if (!messages) return;
  SATSUMA_CHECK(messages->size() <= max_janus_messages);
  for (const JanusMessage& message : *messages) {
    SATSUMA_CHECK(!message.kind.empty());
    SATSUMA_CHECK(message.feed.empty() || !nlohmann::json::parse(message.feed, nullptr, false).is_discarded());
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  take(as_text(input));
  const auto whole = read(input, size + 1), pieces = read(input, 3);
  SATSUMA_CHECK(whole.has_value() == pieces.has_value());
  if (!whole) return 0;
  SATSUMA_CHECK(whole->status == pieces->status && whole->body == pieces->body && whole->body.size() <= max_http_body);
  take(whole->body);
  return 0;
}
