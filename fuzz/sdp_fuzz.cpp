// Session descriptions as anybody may send them. What is understood leads to an answer that we understand ourselves.

#include "signaling/client_sdp.h"
#include "signaling/sdp.h"

using namespace satsuma;
using namespace satsuma::signaling;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto description = parse_sdp(as_text(ByteView(data, size)));
  if (!description) return 0;
  const std::vector<TransportAddress> candidates{TransportAddress::v4({192, 0, 2, 1}, 5000)};
  std::string fingerprint = "00";
  for (int i = 1; i < 32; ++i) fingerprint += ":00";
  if (const auto offer = interpret_publish_offer(*description)) {
    const auto answer = parse_sdp(write_publish_answer(*offer, {{"abcd", "0123456789012345678901"}, fingerprint, candidates, 1, 1}));
    SATSUMA_CHECK(answer && answer->media.size() == description->media.size());
    for (std::size_t i = 0; i < offer->media.size(); ++i) SATSUMA_CHECK(answer->media[i].rejected != offer->media[i].source.has_value());
  }
  std::vector<OfferedSlot> offered;
  for (const SdpMedia& media : description->media) offered.push_back({media.kind, media.mid, 1, 2});
  (void)interpret_subscribe_answer(*description, offered);
  // And as a server may send them to a native client.
  std::vector<OfferedStream> streams;
  for (const SdpMedia& media : description->media) {
    streams.push_back({media.kind, media.mid, 1, 2});
    if (media.kind == MediaKind::video) streams.back().rids = {"q", "h", "f"};
  }
  if (const auto answer = interpret_publish_answer(*description, streams)) {
    SATSUMA_CHECK(answer->streams.size() == streams.size());
    for (std::size_t i = 0; i < streams.size(); ++i) SATSUMA_CHECK(answer->streams[i].rids.size() <= streams[i].rids.size());
  }
  if (const auto offer = interpret_subscribe_offer(*description)) (void)parse_sdp(write_subscribe_answer(*offer, {{"abcd", "0123456789012345678901"}, fingerprint, 1, 1}));
  return 0;
}
