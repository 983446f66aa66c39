// Counters in any order into a tree of keys, beside a model of what may still come; and frames with hostile headers into a receiver that has seen others.
#include <cstddef>
#include <cstdint>
#include <set>

#include "sframe/sframe.h"

using namespace satsuma;
using namespace satsuma::sframe;

namespace {

constexpr CipherSuite suites[] = {CipherSuite::chacha20_poly1305_sha256_128, CipherSuite::aes_128_gcm_sha256_128, CipherSuite::aes_256_ctr_hmac_sha512_80};

void sequence(CipherSuite suite, ByteReader& input) {
  const FrameKeyTree whole = std::move(StreamKeys(suite, 1, Bytes(32, 1)).keys); // never used: what keys ought to be
  FrameKeyTree keys = std::move(StreamKeys(suite, 1, Bytes(32, 1)).keys);
  std::set<std::uint64_t> gone;
  std::uint64_t next = 0, floor = 0;
  for (int step = 0; step < 200 && !input.empty(); ++step) {
    const std::uint8_t op = input.u8().value();
    const std::uint64_t value = input.u8().value_or(0);
    std::uint64_t counter = next;
    switch (op % 4) {
      case 0: counter = next + value % 4; break;
      case 1: counter = next - std::min(next, value * (op / 4 % 8)); break;
      case 2: counter = next + (value << (op / 4 % 17)); break;
      case 3: counter = value << (op / 4); break; // beyond the tree too
    }
    const bool may = counter < FrameKeyTree::capacity && counter >= floor && !gone.contains(counter);
    FrameKey key, expected;
    const auto distance = keys.distance(counter);
    SATSUMA_CHECK(keys.derive(counter, key) == may && distance.has_value() == may);
    if (!may) continue;
    SATSUMA_CHECK(*distance <= FrameKeyTree::levels);
    SATSUMA_CHECK(whole.derive(counter, expected) && equal(key.view(), expected.view()));
    if (op % 16 == 15) continue; // it was forged
    next = std::max(next, counter + 1);
    floor = next - std::min(next, FrameKeyTree::max_window);
    keys.destroy(key, floor);
    floor -= floor % 8; // the last keys of eight go together
    gone.insert(counter);
    SATSUMA_CHECK(!keys.derive(counter, key) && keys.node_count() <= FrameKeyTree::max_nodes);
    // Whoever follows one that was in sequence is so too.
    if (*distance == 0 && next < FrameKeyTree::capacity) SATSUMA_CHECK(keys.distance(next) == 0u);
  }
}

void hostile(CipherSuite suite, ByteReader& input) {
  Sender sender(suite, true);
  Receiver receiver(suite, true);
  const Bytes base_key(32, 1);
  sender.set_key(0x101203, base_key);
  receiver.try_key(0x101203, base_key);
  Bytes out(400), back(400);
  for (int step = 0; step < 20 && !input.empty(); ++step) {
    const std::uint8_t size = input.u8().value();
    const ByteView bytes = input.bytes(std::min<std::size_t>(size, input.remaining())).value();
    (void)receiver.unprotect({}, bytes, back); // header and all
    const auto frame = sender.protect({}, bytes, out);
    SATSUMA_CHECK(frame.has_value());
    if (!bytes.empty()) { // a genuine frame whose header is changed, then as it is, then again
      Bytes changed = to_bytes(*frame);
      const std::size_t place = bytes[0] % std::min<std::size_t>(changed.size(), 8);
      changed[place] ^= static_cast<std::uint8_t>(bytes.back() | 1);
      SATSUMA_CHECK(!receiver.unprotect({}, changed, back).has_value());
    }
    for (std::size_t i = 0; i < bytes.size() && step > 0; ++i) { // forged ones of the stream, as many as may spend its allowance
      Bytes forged(40);
      write_header({0x101203, std::uint64_t{bytes[i]} << bytes[bytes.size() - 1 - i] % 16}, forged);
      const auto refused = receiver.unprotect({}, forged, back);
      SATSUMA_CHECK(!refused.has_value() && (refused.error() == Error(sframe_authentication_failed) || refused.error() == Error(sframe_replayed) ||
                                             refused.error() == Error(sframe_passed_over)));
    }
    const auto opened = receiver.unprotect({}, *frame, back); // in sequence: always opened
    SATSUMA_CHECK(opened.has_value() && equal(opened->plaintext, bytes) && opened->hash == sender.last_hash());
    SATSUMA_CHECK(receiver.unprotect({}, *frame, back).error() == Error(sframe_replayed));
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input({data, size});
  const auto choice = input.u8();
  if (!choice) return 0;
  const CipherSuite suite = suites[*choice / 2 % std::size(suites)];
  if (*choice % 2 == 0) sequence(suite, input);
  else hostile(suite, input);
  return 0;
}
