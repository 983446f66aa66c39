// A server's bytes on a WebSocket, in pieces: messages are bounded, and how the bytes are cut makes no difference.

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "io/websocket_frames.h"

using namespace satsuma;

namespace {

std::vector<Bytes> read(ByteView bytes, std::size_t piece) {
  io::WebSocketReader reader;
  std::vector<Bytes> messages;
  while (!bytes.empty()) {
    const ByteView part = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(part.size());
    reader.append(part);
    while (true) {
      auto next = reader.next();
      if (!next) return messages;
      if (!*next) break;
      if ((*next)->payload.size() > io::max_websocket_message) std::abort();
      messages.push_back(std::move((*next)->payload));
    }
  }
  return messages;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  static_cast<void>(io::check_websocket_response(as_text(input), "satsuma.1", "dGhlIHNhbXBsZSBub25jZQ=="));
  if (read(input, size + 1) != read(input, 3)) std::abort();
  return 0;
}
