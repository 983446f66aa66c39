#pragma once

#include "base/bytes.h"

namespace satsuma::sfu {

/// Sees what the server holds once its own SRTP is undone: the proof that it cannot read the media. Called on the media thread with each RTP packet that
/// was received and verified, in the server of the end-to-end tests (satsumad_hooks) only.
class PacketTap {
 public:
  virtual ~PacketTap() = default;
  virtual void on_packet(ByteView rtp) = 0;
};

} // namespace satsuma::sfu
