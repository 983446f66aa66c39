// Digests as anybody may sign them, frames in any order, and requests of anybody, into a receiver and a sender; and what a sender of ours says must be confirmed, never called forged.
#include <cstddef>
#include <cstdint>

#include "call/sender_digest.h"

using namespace satsuma;
using namespace satsuma::call;

namespace {

sframe::FrameHash hash_of(std::uint8_t stream, std::uint64_t counter) {
  sframe::FrameHash hash{};
  hash[0] = stream;
  for (std::size_t i = 0; i < 8; ++i) hash[1 + i] = static_cast<std::uint8_t>(counter >> (8 * i));
  return hash;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  DigestSender sender;
  DigestReceiver honest; // sees what our sender sent, with losses, reordering and delays, and its digests
  DigestReceiver hostile; // sees anything
  std::uint64_t counters[2][stream_contexts] = {};
  TimePoint now(std::chrono::seconds(100));
  std::uint64_t epoch = 0;
  struct Late {
    EpochKeys::EpochName epoch;
    StreamContext context;
    std::uint64_t counter;
    sframe::FrameHash hash;
  };
  std::vector<Late> late;
  std::size_t made = 0, answered = 0;
  const auto keep = [&](ByteView body) {
    ++made;
    sender.keep(now, {0, epoch}, write_signed_digest(body, Bytes(64, 1)));
  };
  ByteReader input({data, size});
  while (!input.empty()) {
    const std::uint8_t op = input.u8().value();
    const std::uint8_t value = input.u8().value_or(0);
    const auto context = static_cast<StreamContext>(value % stream_contexts);
    switch (op % 8) {
      case 0:
      case 1: { // frames, some of which arrive, some later
        for (int i = 0; i <= value / 16; ++i) {
          std::uint64_t& counter = counters[epoch % 2][static_cast<std::size_t>(context)];
          if (is_sound(context)) {
            if (const auto digest = sender.take_for_frame(now, {0, epoch}, 200)) {
              SATSUMA_CHECK(write_signed_digest(*digest, Bytes(64, 1)).size() <= 200);
              keep(*digest);
              if (value % 3 != 0) SATSUMA_CHECK(honest.handle_digest(now, {0, epoch}, 0, 1, *digest).has_value());
            }
          }
          const Late frame{{0, epoch}, context, counter, hash_of(static_cast<std::uint8_t>(context), counter + (epoch << 32))};
          sender.handle_sent(now, frame.epoch, context, counter++, frame.hash, 100 + value);
          if (op % 3 == 0 && late.size() < 64) late.push_back(frame);
          else if (op % 5 != 0) honest.handle_received(now, frame.epoch, 1, context, frame.counter, frame.hash);
        }
        break;
      }
      case 2:
        for (const Late& frame : late) honest.handle_received(now, frame.epoch, 1, frame.context, frame.counter, frame.hash);
        late.clear();
        break;
      case 3:
        if (const auto digest = sender.take(now, {0, epoch})) {
          SATSUMA_CHECK(digest->size() <= 20'000);
          keep(*digest);
          if (value % 4 != 0) SATSUMA_CHECK(honest.handle_digest(now, {0, epoch}, 0, 1, *digest).has_value());
          (void)hostile.handle_digest(now, {0, epoch}, value % 3, value % 4, *digest);
        }
        break;
      case 4: now += std::chrono::milliseconds(value * 4); break;
      case 5:
        ++epoch;
        for (std::uint64_t& counter : counters[epoch % 2]) counter = 0;
        break;
      case 6: {
        const ByteView bytes = input.bytes(std::min<std::size_t>(value, input.remaining())).value();
        (void)hostile.handle_digest(now, {0, epoch}, 0, value % 4, bytes);
        if (const auto parsed = parse_signed_digest(bytes)) SATSUMA_CHECK(equal(write_signed_digest(parsed->body, parsed->signature), bytes));
        if (const auto request = parse_digest_request(bytes)) {
          SATSUMA_CHECK(equal(write_digest_request(*request), bytes));
          sender.handle_request(now, *request);
          hostile.handle_request(now, *request);
        }
        Bytes plaintext = to_bytes(bytes);
        if (const auto carrier = split_carrier(plaintext)) SATSUMA_CHECK(carrier->frame.size() + carrier->digest.size() + 1 == plaintext.size());
        sender.handle_request(now, {{static_cast<std::uint32_t>(value % stream_contexts), 1, static_cast<std::uint8_t>(epoch - op / 8 % 2)}, std::uint64_t{value} * 3});
        break;
      }
      case 7: hostile.handle_received(now, {0, epoch - std::min<std::uint64_t>(epoch, value % 3)}, value % 4, context, op * 37u, hash_of(value, op)); break;
    }
    while (const auto answer = sender.take_answer(now)) {
      ++answered;
      const auto body = parse_signed_digest(*answer).value().body;
      const auto ahead = static_cast<std::uint8_t>(epoch - body[0]);
      SATSUMA_CHECK(honest.handle_digest(now, {0, epoch - ahead}, 0, 1, body).has_value());
    }
    SATSUMA_CHECK(answered <= made + DigestSender::max_saved_answers);
    for (DigestReceiver* receiver : {&honest, &hostile}) {
      receiver->handle_timeout(now);
      for (std::size_t requests = 0; const auto request = receiver->poll_request();) {
        SATSUMA_CHECK(++requests <= DigestReceiver::max_requests && parse_digest_request(write_digest_request(*request)).value() == *request);
        if (receiver == &honest && op % 2 == 0) sender.handle_request(now, *request);
      }
      SATSUMA_CHECK(receiver->waiting() <= DigestReceiver::max_waiting_in_all);
      while (const auto judgement = receiver->poll_output()) {
        SATSUMA_CHECK(receiver != &honest || judgement->verdict != StreamVerdict::forged);
      }
      const auto next = receiver->next_deadline();
      SATSUMA_CHECK(!next || *next > now);
    }
  }
  return 0;
}
