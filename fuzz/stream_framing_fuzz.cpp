// A TCP stream of ICE: however it is cut, the same datagrams come out, and what is kept stays within its bound. The first byte says where it is cut.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ice/ice_lite.h"
#include "ice/stream_framing.h"

using namespace satsuma;

namespace {

bool cut(ByteView stream, std::size_t step, std::vector<Bytes>& out) {
  ice::StreamFrameReader reader;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    Bytes piece = to_bytes(stream.subspan(at, std::min(step, stream.size() - at)));
    MutableByteView input(piece);
    while (true) {
      const auto frame = reader.next(input);
      if (!frame) return false;
      if (!*frame) break;
      SATSUMA_CHECK(!(*frame)->empty() && (*frame)->size() <= ice::max_stream_frame);
      out.push_back(to_bytes(**frame));
      (*frame)->front() ^= 1; // media is decrypted in place
    }
    SATSUMA_CHECK(input.empty() && reader.kept() <= ice::stream_frame_header + ice::max_stream_frame);
  }
  return true;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const ByteView stream(data + 1, size - 1);
  std::vector<Bytes> whole, pieces;
  const bool good = cut(stream, stream.size(), whole);
  SATSUMA_CHECK(cut(stream, std::size_t{data[0]} + 1, pieces) == good);
  SATSUMA_CHECK(whole == pieces);
  for (const Bytes& datagram : whole) (void)ice::receiver_ufrag(datagram);
  return 0;
}
