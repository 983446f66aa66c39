#pragma once

#include "base/bytes.h"
#include "srtp/session.h"

namespace satsuma::srtp::test {

inline Bytes master_key(Profile profile) {
  Bytes key(master_key_size);
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(17 * i + static_cast<std::uint8_t>(profile));
  return key;
}

inline Bytes master_salt(Profile profile) {
  Bytes salt(master_salt_size(profile));
  for (std::size_t i = 0; i < salt.size(); ++i) salt[i] = static_cast<std::uint8_t>(0xa0 + i);
  return salt;
}

struct Rtp {
  std::uint16_t sequence = 1;
  std::uint32_t ssrc = 0x01020304;
  unsigned csrcs = 0;
  bool extension = false;
  std::size_t payload = 100;
};

inline Bytes header(const Rtp& rtp) {
  ByteWriter writer;
  writer.u8(static_cast<std::uint8_t>(0x80 | (rtp.extension ? 0x10 : 0) | rtp.csrcs));
  writer.u8(96);
  writer.u16(rtp.sequence);
  writer.u32(90'000);
  writer.u32(rtp.ssrc);
  for (unsigned i = 0; i < rtp.csrcs; ++i) writer.u32(i);
  if (rtp.extension) {
    writer.u16(0xbede);
    writer.u16(2);
    writer.u64(0x10'ff'20'11'00'00'00'00);
  }
  return std::move(writer).take();
}

inline Bytes payload(const Rtp& rtp) {
  Bytes bytes(rtp.payload);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 31 + rtp.sequence);
  return bytes;
}

inline Bytes packet(const Rtp& rtp) {
  Bytes bytes = header(rtp);
  const Bytes body = payload(rtp);
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

inline Bytes rtcp(std::uint32_t ssrc, std::size_t words = 6) {
  ByteWriter writer;
  writer.u8(0x80);
  writer.u8(200);
  writer.u16(static_cast<std::uint16_t>(words));
  writer.u32(ssrc);
  for (std::size_t i = 1; i < words; ++i) writer.u32(static_cast<std::uint32_t>(i * 0x01010101));
  return std::move(writer).take();
}

inline Result<Bytes> protect(Sender& sender, const Rtp& rtp) {
  Bytes out(2000);
  const auto written = sender.protect_rtp(header(rtp), payload(rtp), out);
  if (!written) return written.error();
  out.resize(written->size());
  return out;
}

} // namespace satsuma::srtp::test
