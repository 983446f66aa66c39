#include "rtp/transport_feedback.h"

#include <algorithm>

namespace satsuma::rtp {

namespace {

constexpr std::int64_t delta_tick_us = 250;      // s.3.1.5
constexpr std::int64_t reference_tick_us = 64000; // s.3.1
enum Symbol : std::uint8_t { not_received = 0, small_delta = 1, large_delta = 2 };
constexpr std::size_t run_length_max = 0x1fff;
constexpr std::size_t vector_size = 7; // symbols of two bits in a status vector chunk

} // namespace

Result<TransportFeedback> parse_transport_feedback(ByteView control, std::span<PacketStatus> storage) {
  ByteReader reader(control);
  const auto base = reader.u16();
  const auto count = reader.u16();
  const auto reference = reader.u24();
  const auto number = reader.u8();
  if (!base || !count || !reference || !number) return transport_feedback_malformed;
  if (*count == 0) return transport_feedback_malformed;
  if (*count > max_feedback_statuses || *count > storage.size()) return rtcp_too_many_items;

  // First the symbols, of which the arrival field holds the size of the delta; then the deltas.
  std::size_t known = 0;
  const auto add = [&](unsigned symbol) {
    if (known == *count || symbol > large_delta) return symbol <= large_delta;
    PacketStatus& status = storage[known];
    status.sequence = static_cast<std::uint16_t>(*base + known);
    status.received = symbol != not_received;
    status.arrival_us = symbol;
    ++known;
    return true;
  };
  while (known < *count) {
    const auto chunk = reader.u16();
    if (!chunk) return transport_feedback_malformed;
    if ((*chunk & 0x8000) == 0) { // run length
      const unsigned symbol = *chunk >> 13 & 3U;
      const std::size_t run = *chunk & run_length_max;
      if (run == 0) return transport_feedback_malformed;
      for (std::size_t i = 0; i < run && known < *count; ++i)
        if (!add(symbol)) return transport_feedback_malformed;
    } else if ((*chunk & 0x4000) == 0) { // fourteen symbols of one bit
      for (int bit = 13; bit >= 0; --bit) add(*chunk >> bit & 1U);
    } else { // seven symbols of two bits
      for (int bit = 12; bit >= 0; bit -= 2)
        if (!add(*chunk >> bit & 3U)) return transport_feedback_malformed;
    }
  }
  // The draft calls the reference time signed. Senders count up from their clock's zero, and half of its 12 days is not to look like a time before that.
  std::int64_t time = static_cast<std::int64_t>(*reference) * reference_tick_us;
  for (PacketStatus& status : storage.first(*count)) {
    if (!status.received) {
      status.arrival_us = 0;
      continue;
    }
    if (status.arrival_us == small_delta) {
      const auto delta = reader.u8();
      if (!delta) return transport_feedback_malformed;
      time += *delta * delta_tick_us;
    } else {
      const auto delta = reader.u16();
      if (!delta) return transport_feedback_malformed;
      time += static_cast<std::int16_t>(*delta) * delta_tick_us;
    }
    status.arrival_us = time;
  }
  return TransportFeedback{*number, storage.first(*count)};
}

void TransportFeedbackRecorder::on_packet(TimePoint arrival, std::uint16_t sequence) {
  const auto before = unwrapper_.highest();
  const ExtendedSequence extended = unwrapper_.unwrap(sequence);
  if (before && extended <= *before - static_cast<ExtendedSequence>(window)) return; // too late to tell of
  if (!arrivals_) arrivals_ = std::make_unique<std::array<Arrival, window>>();
  Arrival& slot = (*arrivals_)[static_cast<std::size_t>(extended) % window];
  if (slot.sequence == extended) return; // the first arrival counts
  slot = {extended, arrival};
  // One that comes late has been reported lost: say it again, from there on.
  if (!first_unreported_ || extended < *first_unreported_) first_unreported_ = extended;
}

void TransportFeedbackRecorder::rest() {
  arrivals_.reset();
  first_unreported_.reset();
}

std::optional<MutableByteView> TransportFeedbackRecorder::write(std::uint32_t sender, std::uint32_t media, MutableByteView out) {
  if (!pending()) return std::nullopt;
  const ExtendedSequence highest = *unwrapper_.highest();
  // After a jump only the window is known; what lies before it will not be told of.
  ExtendedSequence base = std::max(*first_unreported_, highest - static_cast<ExtendedSequence>(window) + 1);
  // Nothing but losses before the first arrival is of use beyond a message's length.
  ExtendedSequence first = base;
  while (first < highest && arrival_of(first).sequence != first) ++first;
  if (first - base >= static_cast<ExtendedSequence>(max_statuses) / 2) base = first;

  // Choose how many packets: as many as have deltas that fit, and space. Worst case two bytes of delta each, and a chunk for seven.
  constexpr std::size_t fixed = 20;
  if (out.size() < fixed + 16) return std::nullopt;
  const std::size_t space_limit = (out.size() - fixed - 4) * vector_size / (2 * vector_size + 2);
  const std::size_t limit = std::min({max_statuses, space_limit, static_cast<std::size_t>(highest - base + 1)});

  std::array<std::uint8_t, max_statuses> symbols{};
  std::array<std::int16_t, max_statuses> deltas{};
  std::size_t count = 0, received = 0;
  const std::int64_t first_us = arrival_of(first).at.time_since_epoch().count();
  const std::int64_t reference = first_us / reference_tick_us;
  std::int64_t ticks = reference * (reference_tick_us / delta_tick_us); // sums rounded deltas, so that the errors do not add up
  for (; count < limit; ++count) {
    const ExtendedSequence sequence = base + static_cast<ExtendedSequence>(count);
    const Arrival& arrival = arrival_of(sequence);
    if (arrival.sequence != sequence) {
      symbols[count] = not_received;
      continue;
    }
    const std::int64_t at = arrival.at.time_since_epoch().count() / delta_tick_us;
    const std::int64_t delta = at - ticks;
    if (delta < INT16_MIN || delta > INT16_MAX) break; // begins the next message
    symbols[count] = delta >= 0 && delta <= 255 ? small_delta : large_delta;
    deltas[received++] = static_cast<std::int16_t>(delta);
    ticks = at;
  }
  if (received == 0) {
    // `limit` was reached by losses alone; tell of them, the next message continues.
    if (count == 0) return std::nullopt;
  }

  SpanWriter writer(out);
  writer.u8(0x80 | format_transport_wide);
  writer.u8(static_cast<std::uint8_t>(RtcpType::transport_feedback));
  writer.u16(0); // filled in below
  writer.u32(sender);
  writer.u32(media);
  writer.u16(wire(base));
  writer.u16(static_cast<std::uint16_t>(count));
  writer.u24(static_cast<std::uint32_t>(reference) & 0xffffffU);
  writer.u8(number_);
  for (std::size_t at = 0; at < count;) {
    std::size_t run = 1;
    while (at + run < count && symbols[at + run] == symbols[at] && run < run_length_max) ++run;
    if (run >= vector_size || at + run == count) {
      writer.u16(static_cast<std::uint16_t>(symbols[at] << 13 | run));
      at += run;
      continue;
    }
    std::uint16_t chunk = 0xc000;
    for (std::size_t i = 0; i < vector_size; ++i) {
      const unsigned symbol = at + i < count ? symbols[at + i] : static_cast<unsigned>(not_received);
      chunk = static_cast<std::uint16_t>(chunk | symbol << (2 * (vector_size - 1 - i)));
    }
    writer.u16(chunk);
    at += vector_size;
  }
  std::size_t next = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (symbols[i] == not_received) continue;
    if (symbols[i] == small_delta)
      writer.u8(static_cast<std::uint8_t>(deltas[next]));
    else
      writer.u16(static_cast<std::uint16_t>(deltas[next]));
    ++next;
  }
  const std::size_t padding = (4 - writer.size() % 4) % 4;
  if (padding > 0) {
    writer.zeros(padding - 1);
    writer.u8(static_cast<std::uint8_t>(padding));
  }
  auto written = writer.written();
  if (!written) return std::nullopt;
  if (padding > 0) (*written)[0] |= 0x20;
  const std::size_t words = written->size() / 4 - 1;
  (*written)[2] = static_cast<std::uint8_t>(words >> 8);
  (*written)[3] = static_cast<std::uint8_t>(words);
  ++number_;
  first_unreported_ = base + static_cast<ExtendedSequence>(count);
  return *written;
}

} // namespace satsuma::rtp
