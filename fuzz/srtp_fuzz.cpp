// Packets to a receiver (of the profile that the first byte says), which must refuse all that it did not see protected; and headers, payloads to a sender,
// whose output the receiver must take.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "srtp/session.h"

using namespace satsuma;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 4000) return 0;
  const auto profile = (data[0] & 1) != 0 ? srtp::Profile::aead_aes_128_gcm : srtp::Profile::aes128_cm_sha1_80;
  const std::array<std::uint8_t, 16> key{1, 2, 3};
  const std::array<std::uint8_t, 14> salt_bytes{4, 5, 6};
  const ByteView salt = ByteView(salt_bytes).first(srtp::master_salt_size(profile));
  srtp::Sender sender(profile, key, salt);
  srtp::Receiver receiver(profile, key, salt);

  // A sequence of packets: length, then that many bytes.
  ByteReader reader(ByteView(data + 1, size - 1));
  std::array<std::uint8_t, 5000> out;
  while (!reader.empty()) {
    const std::uint8_t mode = *reader.u8();
    const std::size_t length = std::min<std::size_t>(reader.remaining(), mode);
    const ByteView input = *reader.bytes(length);
    Bytes raw = to_bytes(input);
    SATSUMA_CHECK(!receiver.unprotect_rtp(raw));
    raw = to_bytes(input);
    SATSUMA_CHECK(!receiver.unprotect_rtcp(raw));

    if (const auto header_size = srtp::rtp_header_size(input)) {
      SATSUMA_CHECK(*header_size <= input.size());
      const ByteView header = input.first(*header_size);
      const ByteView payload = input.subspan(*header_size);
      if (const auto packet = sender.protect_rtp(header, payload, out)) {
        const auto clear = receiver.unprotect_rtp(*packet);
        SATSUMA_CHECK(clear && equal(*clear, input));
      }
    }
    if (const auto packet = sender.protect_rtcp(input, out)) {
      const auto clear = receiver.unprotect_rtcp(*packet);
      SATSUMA_CHECK(clear && equal(*clear, input));
    }
  }
  return 0;
}
