#include "turn/framing.h"

#include <algorithm>

#include "stun/message.h"

namespace satsuma::turn {

namespace {

struct Extent {
  std::size_t frame = 0;
  std::size_t padded = 0;
};

/// Of a frame whose first four bytes are there.
Result<Extent> extent_of(ByteView head) {
  const std::size_t length = (static_cast<std::size_t>(head[2]) << 8) | head[3];
  Extent extent;
  if (is_channel_data(head[0])) {
    extent.frame = channel_data_header + length;
    extent.padded = (extent.frame + 3) / 4 * 4;
  } else if (head[0] < 4 && length % 4 == 0) {
    extent.frame = extent.padded = stun::header_size + length;
  } else {
    return turn_bad_framing;
  }
  if (extent.padded > max_frame_size) return turn_bad_framing;
  return extent;
}

} // namespace

std::optional<ByteView> write_channel_data(std::uint16_t channel, ByteView datagram, MutableByteView out) {
  if (datagram.size() > max_frame_size - channel_data_header) return std::nullopt;
  SpanWriter writer(out);
  writer.u16(channel);
  writer.u16(static_cast<std::uint16_t>(datagram.size()));
  writer.bytes(datagram);
  writer.zeros((4 - datagram.size() % 4) % 4);
  const auto written = writer.written();
  return written ? std::optional<ByteView>(*written) : std::nullopt;
}

Result<std::optional<MutableByteView>> FrameReader::next(MutableByteView& input) {
  if (deliver_kept_) {
    kept_.clear();
    deliver_kept_ = false;
  }
  const auto keep = [&](std::size_t count) {
    kept_.reserve(max_frame_size);
    const std::size_t taken = std::min(count, input.size());
    kept_.insert(kept_.end(), input.begin(), input.begin() + static_cast<std::ptrdiff_t>(taken));
    input = input.subspan(taken);
  };
  if (input.empty()) return std::optional<MutableByteView>();
  if (kept_.empty() && input.size() >= channel_data_header) {
    SATSUMA_TRY(const Extent extent, extent_of(input));
    if (input.size() >= extent.padded) {
      const MutableByteView frame = input.first(extent.frame);
      input = input.subspan(extent.padded);
      return frame;
    }
  }
  if (kept_.size() < channel_data_header) {
    keep(channel_data_header - kept_.size());
    if (kept_.size() < channel_data_header) return std::optional<MutableByteView>();
  }
  SATSUMA_TRY(const Extent extent, extent_of(kept_));
  keep(extent.padded - kept_.size());
  if (kept_.size() < extent.padded) return std::optional<MutableByteView>();
  deliver_kept_ = true;
  return MutableByteView(kept_).first(extent.frame);
}

} // namespace satsuma::turn
