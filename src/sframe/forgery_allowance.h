#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/secret.h"

namespace satsuma::sframe {

/// What the forged frames of one line may cost: of what one sender's frames arrive on, or one slot of the server's. Who forges on a line of its own takes nothing from the
/// others; a server that forges on any line could as well drop what is on it.
///
/// A good frame in sequence takes the AEAD and its share of the tree of keys, more than one derivation. A forged one takes the AEAD, and where the stream stands (FrameKeyTree::ahead)
/// what the next good ones are spared, but elsewhere up to FrameKeyTree::levels, and more where the stream has not begun. So what takes more than `free` is charged, comes back with a frame that authenticates,
/// and good frames earn a part of one besides.
///
/// While there is credit, every frame is opened. Without it one that is `n` derivations away is opened with a chance of one in `n + 1`, which forgers cannot foresee. So forged ones cost
/// one derivation at most in the mean, wherever they point and however many there are; and a genuine one that is far away, as all of its stream then is,
/// gets through with one of the next: the `n + 1`th in the mean.
class ForgeryAllowance {
 public:
  /// In derivations: thirty-two walks from the root of a tree, a quarter of a millisecond in a browser.
  static constexpr std::uint32_t most = 256;
  /// So many good frames earn one.
  static constexpr std::uint32_t frames_for_one = 8;
  /// Always opened and never charged: no more than a good frame takes.
  static constexpr std::uint32_t free = 1;

  /// `seed`: 32 random bytes that are nowhere else. What comes from an epoch would not do, since its members forge too.
  explicit ForgeryAllowance(ByteView seed);

  /// Whether a frame is to be opened whose key takes so many derivations. Then they are charged, whatever becomes of it.
  bool admits(std::uint32_t derivations) {
    charged_ = 0;
    return derivations <= free || admits_far(derivations);
  }
  /// The frame that was admitted last authenticated: it cost nothing.
  void handle_success() {
    credit_ = std::min(credit_ + charged_ + 1, most * frames_for_one);
    charged_ = 0;
  }
  /// The line carries something else from now on.
  void renew() { credit_ = most * frames_for_one; }

 private:
  bool admits_far(std::uint32_t derivations);
  std::uint8_t draw();

  std::uint32_t credit_ = most * frames_for_one;
  std::uint32_t charged_ = 0; ///< for the one that was admitted last
  SecretArray<32> seed_;
  SecretArray<32> drawn_;
  std::size_t used_ = drawn_.size();
  std::uint64_t draws_ = 0;
};

} // namespace satsuma::sframe
