#pragma once

#include <cstddef>
#include <cstdint>

#include "base/secret.h"

namespace satsuma::sframe {

/// What forged frames may cost. A good frame takes the AEAD and its share of the tree of keys, half of one derivation made alone. In sequence a forged one takes the AEAD, for
/// the key is there already; but one that claims a counter far away takes up to FrameKeyTree::levels derivations. So those that went into a
/// frame that did not authenticate are charged here, and good frames earn a part of one.
///
/// While there is credit, every frame is opened. Without it a frame `n` derivations away is opened with a chance of one in `n + 1`, which forgers cannot foresee. So forged ones cost
/// less than one derivation and half of an AEAD in the mean, wherever they point and however many there are; and a genuine one that jumped far, as all of its stream then does,
/// gets through with one of the next few, however dense the forgeries are. What is in sequence is always opened.
class ForgeryAllowance {
 public:
  /// In derivations: thirty-two walks from the root of a tree, a quarter of a millisecond in a browser.
  static constexpr std::uint32_t most = 256;
  /// So many good frames earn one.
  static constexpr std::uint32_t frames_for_one = 8;

  /// Something that no forger knows, of any size, before the first handle_failure(). Only the first one counts.
  void seed(ByteView secret);

  /// Whether a frame is to be opened whose key takes so many derivations.
  bool admits(std::uint32_t derivations);
  /// It was opened and did not authenticate.
  void handle_failure(std::uint32_t derivations);
  void handle_success();

 private:
  std::uint8_t draw();

  std::uint32_t credit_ = most * frames_for_one;
  bool seeded_ = false;
  SecretArray<32> seed_;
  SecretArray<32> drawn_;
  std::size_t used_ = drawn_.size();
  std::uint64_t draws_ = 0;
};

} // namespace satsuma::sframe
