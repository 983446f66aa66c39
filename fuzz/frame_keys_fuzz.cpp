// Counters in any order into a tree of keys, beside a model of what may still come; and hostile frames on two lines of a member that hears another.
#include <cstddef>
#include <cstdint>
#include <set>

#include "call/epoch_keys.h"

using namespace satsuma;
using namespace satsuma::sframe;
using namespace satsuma::call;

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
    if (op % 8 >= 4) keys.approach_near(counter);
    SATSUMA_CHECK(whole.derive(counter, expected) && equal(key.view(), expected.view()));
    if (op % 16 == 15) continue; // it was forged
    next = std::max(next, counter + 1);
    floor = next - std::min(next, FrameKeyTree::max_window);
    keys.destroy(key, floor);
    if (op % 16 < 12) keys.look_ahead();
    floor -= floor % FrameKeyTree::floor_step;
    gone.insert(counter);
    SATSUMA_CHECK(!keys.derive(counter, key) && keys.node_count() <= FrameKeyTree::max_nodes);
    if (op % 16 >= 12) continue;
    if (next < FrameKeyTree::capacity) SATSUMA_CHECK(keys.distance(next) == 0u);
    const std::uint64_t near = next + value % FrameKeyTree::ahead;
    if (near < FrameKeyTree::capacity) SATSUMA_CHECK(*keys.distance(near) <= 1);
  }
}

/// A member's frames between forged ones on its line and on another, as a participant opens them. What is genuine and near the stream gets through always; everything does on a
/// line that nobody forges on.
void hostile(CipherSuite suite, ByteReader& input) {
  EpochKeys sender(suite), receiver(suite);
  const TimePoint now{};
  for (EpochKeys* keys : {&sender, &receiver})
    keys->enter(now, {0, 1, keys == &sender ? 0u : 1u, {0, 1}, SecretBytes::copy_of(Bytes(crypto::hash_size(parameters(suite).hash), 1))}, false);
  Line line{Bytes(32, 1)}, other{Bytes(32, 2)}, anothers{Bytes(32, 3)};
  line.leaf = 0;
  anothers.leaf = 2;
  // Sound, which may carry digests; on lines of video, whose shells are more.
  constexpr StreamContext context = StreamContext::screen_audio;
  Bytes out(900), back(900);
  const auto refused = [&](Line& on, ByteView frame) { SATSUMA_CHECK(!receiver.unprotect(now, on, ShellKind::video, frame, back).has_value()); };
  const auto forged = [&](std::uint8_t shape, std::uint64_t counter) {
    Bytes frame;
    if (shape % 4 == 1) frame = {0, 0, 0, 1, 0x41, 0xff}; // H.264
    Bytes header(max_header_size);
    header.resize(write_header({KeyId{shape / 4u % 4, 0, 1, shape / 16 % 2 == 1}.value(), counter}, header));
    frame.insert(frame.end(), header.begin(), header.end());
    frame.insert(frame.end(), 30, 9);
    if (shape % 4 == 1) frame.insert(frame.end(), {0, 0, 3, static_cast<std::uint8_t>(shape / 4), 0x80}); // a bad escape among others
    return frame;
  };
  bool begun = false;
  for (int step = 0; step < 20 && !input.empty(); ++step) {
    const std::uint8_t size = input.u8().value();
    const ByteView bytes = input.bytes(std::min<std::size_t>(size, input.remaining())).value();
    (void)receiver.unprotect(now, line, ShellKind::video, bytes, back); // header and all
    const std::size_t left_out = bytes.empty() ? 0 : bytes[0] % FrameKeyTree::ahead;
    const auto shell = static_cast<Shell>(size % (last_shell + 1));
    for (std::size_t i = 0; i < left_out; ++i) SATSUMA_CHECK(sender.protect(now, context, shell, {}, out).has_value());
    const bool carries = size / 8 % 2 == 1;
    const auto frame = sender.protect(now, context, shell, bytes, out, carries);
    SATSUMA_CHECK(frame.has_value());
    if (!bytes.empty()) { // a genuine frame that is changed at its front, then as it is, then again
      Bytes changed = to_bytes(*frame);
      changed[bytes.back() % std::min<std::size_t>(changed.size(), 16)] ^= static_cast<std::uint8_t>(bytes[0] | 1);
      const auto opened = receiver.unprotect(now, other, ShellKind::video, changed, back);
      // The lengths of start codes and sizes of OBUs are packetisers' to change; nothing else is.
      SATSUMA_CHECK(!opened.has_value());
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) { // as many as may spend an allowance; some of them of nobody's counters
      Line& on = begun && bytes[i] % 2 == 0 ? line : other;
      refused(on, forged(bytes[i], std::uint64_t{bytes[i]} << bytes[bytes.size() - 1 - i] % 24));
    }
    SATSUMA_CHECK(receiver.unprotect(now, anothers, ShellKind::video, *frame, back).error() == Error(frame_wrong_line));
    const auto opened = receiver.unprotect(now, line, ShellKind::video, *frame, back);
    SATSUMA_CHECK(opened.has_value() && equal(opened->plaintext, bytes) && opened->counter == sender.last_sent().counter && opened->carries_digest == carries);
    SATSUMA_CHECK(receiver.unprotect(now, line, ShellKind::video, *frame, back).error() == Error(sframe_replayed));
    begun = true;
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
