#include "recording.h"

#include <algorithm>

namespace satsuma::client {

Recording::~Recording() {
  if (!video_ && held_) write(ogg_.packet(*held_, granule_, true));
}

std::string Recording::file() const { return path_ + (number_ > 1 ? "-" + std::to_string(number_) : std::string()) + (video_ ? ".ivf" : ".ogg"); }

void Recording::open() {
  ++number_;
  if (out_.is_open()) out_.close();
  if (out_.good()) out_.open(file(), std::ios::binary); // what failed stays failed
}

void Recording::take(const participant::Frame& frame) {
  if (full_) return;
  std::uint64_t since = 0;
  if (first_) since = last_time_ + static_cast<std::uint64_t>(std::max(std::int32_t{0}, static_cast<std::int32_t>(frame.timestamp - last_timestamp_)));
  if (video_) {
    // What no decoder can make a picture of has no place in the file.
    if (frame.after_gap && !frame.key_frame) waits_ = true;
    const auto size = frame.key_frame ? container::vp8_size(frame.payload) : size_;
    if (frame.key_frame) waits_ = !size; // nor what builds on one that cannot be read
    if (waits_ || !size) return;
    if (!size_ || size_->width != size->width || size_->height != size->height) {
      if (size_) {
        if (number_ == max_files) {
          full_ = true;
          return;
        }
        open();
      }
      size_ = size;
      write(container::ivf_header(*size));
    }
    write(container::ivf_frame_header(frame.payload.size(), since));
    write(frame.payload);
  } else {
    if (!first_) write(ogg_.header());
    if (held_) write(ogg_.packet(*held_, granule_));
    held_ = to_bytes(frame.payload);
    granule_ = since + container::opus_samples(frame.payload);
  }
  first_ = true;
  last_time_ = since;
  last_timestamp_ = frame.timestamp;
}

} // namespace satsuma::client
