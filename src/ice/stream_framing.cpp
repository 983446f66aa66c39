#include "ice/stream_framing.h"

#include <algorithm>

namespace satsuma::ice {

namespace {

std::size_t length_of(ByteView header) { return (static_cast<std::size_t>(header[0]) << 8) | header[1]; }

} // namespace

Result<std::optional<MutableByteView>> StreamFrameReader::next(MutableByteView& input) {
  if (deliver_kept_) {
    kept_.clear();
    deliver_kept_ = false;
  }
  const auto keep = [&](std::size_t count) {
    kept_.reserve(stream_frame_header + max_stream_frame);
    kept_.insert(kept_.end(), input.begin(), input.begin() + static_cast<std::ptrdiff_t>(count));
    input = input.subspan(count);
  };
  while (!input.empty()) {
    if (kept_.empty() && input.size() >= stream_frame_header) {
      const std::size_t length = length_of(input);
      if (length > max_stream_frame) return ice_frame_too_long;
      if (input.size() >= stream_frame_header + length) {
        const MutableByteView frame = input.subspan(stream_frame_header, length);
        input = input.subspan(stream_frame_header + length);
        if (frame.empty()) continue;
        return frame;
      }
    }
    if (kept_.size() < stream_frame_header) {
      keep(std::min(stream_frame_header - kept_.size(), input.size()));
      if (kept_.size() < stream_frame_header) break;
    }
    const std::size_t length = length_of(kept_);
    if (length > max_stream_frame) return ice_frame_too_long;
    const std::size_t whole = stream_frame_header + length;
    keep(std::min(whole - kept_.size(), input.size()));
    if (kept_.size() < whole) break;
    if (length == 0) {
      kept_.clear();
      continue;
    }
    deliver_kept_ = true;
    return MutableByteView(kept_).subspan(stream_frame_header);
  }
  return std::optional<MutableByteView>();
}

} // namespace satsuma::ice
