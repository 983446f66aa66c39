#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "sframe/cipher_suite.h"

namespace satsuma::sframe {

class FrameKey;

/// The keys of one stream's frames, one for each counter, each destroyed after its use.
///
/// They are the leaves of a tree of secrets, as MLS derives the secrets of its senders (RFC 9420 s.9), here with eight children for a
/// node and eight levels: node → child is one block of the hash, and a node is erased once its children are there. What is held is a set of
/// subtrees that covers just the counters that may still come, so a key that is gone cannot be derived from what is left, and
/// a counter far ahead costs a walk down the tree and not a step for each that was skipped. Sequential frames cost 8/7 derivations each.
///
/// `derive` changes nothing, since the frame may be forged. `destroy` goes the same way down once the frame authenticated, and finds what was derived for it
/// in the FrameKey.
///
/// A receiver lets the tree `look_ahead` before each frame: that splits, once for each frame that was good, what those that come next will need. The next one's
/// key is there then, and all those up to `ahead` are one derivation away, which is done for eight of them at once (approach_near). So whoever forges them makes us derive no
/// more than their good ones will need, and who gets each twelfth frame only (a thinned picture, whose encodings share a counter) is never far from the next.
///
/// Move-only, wiped, and without an allocation for each frame: memory grows with the number of frames that were skipped and
/// may still come, up to max_nodes.
class FrameKeyTree {
 public:
  static constexpr std::size_t node_size = 32; ///< bytes of a secret that is no key yet, whatever the suite
  static constexpr unsigned arity_bits = 3;
  static constexpr unsigned levels = 8;
  /// Counters are below this: more than a day of 180 frames a second in one epoch.
  static constexpr std::uint64_t capacity = std::uint64_t{1} << (arity_bits * levels);
  /// How far `floor` may be behind the highest counter that was destroyed.
  static constexpr std::uint64_t max_window = 1024;
  /// What is below `floor` is destroyed by so many: to split nodes for a part of these would be a tenth of a jump's work.
  static constexpr std::uint64_t floor_step = std::uint64_t{1} << (2 * arity_bits);
  /// The counters above the highest that was destroyed which are one derivation away at most after look_ahead().
  static constexpr std::uint64_t ahead = 64;
  /// All of the window but one in each eight, what is ahead, and the siblings on the ways to the next counter and to the last one ahead.
  static constexpr std::size_t max_nodes = max_window + floor_step + ahead + 3 * levels * ((1u << arity_bits) - 1);

  /// `root` has node_size bytes.
  FrameKeyTree(CipherSuite suite, ByteView root);
  FrameKeyTree(FrameKeyTree&&) noexcept = default;
  FrameKeyTree& operator=(FrameKeyTree&&) noexcept = default;

  /// How many derivations `derive` takes for it, at most `levels`; nothing when it was destroyed or there is none.
  std::optional<std::uint32_t> distance(std::uint64_t counter) const;
  /// The key of `counter` if nothing has to be derived for it, until the tree changes.
  std::optional<ByteView> at_hand(std::uint64_t counter) const;
  /// The key of `counter`, into `key`; changes nothing else. False when it was destroyed or there is none.
  [[nodiscard]] bool derive(std::uint64_t counter, FrameKey& key) const;
  /// Destroys that key in the tree, and those of all counters below `floor`, but for the last of them if that is no multiple of floor_step. The FrameKey, of this tree, remains what
  /// it is.
  void destroy(FrameKey& key, std::uint64_t floor);
  /// Nothing to do unless a higher counter than before was destroyed since the last call.
  void look_ahead();
  /// Derives the keys of the eight that `counter` is one of, if it is one derivation away and among those ahead. All of them may come, so whoever forges frames there makes us do once,
  /// and before others need it, what has to be done anyway.
  void approach_near(std::uint64_t counter);

  std::size_t node_count() const { return places_.size(); }

 private:
  struct Place {
    std::uint32_t start = 0; ///< the lowest counter under it
    std::uint32_t level = 0; ///< 0: the key itself
    std::uint64_t end() const { return start + (std::uint64_t{1} << (arity_bits * level)); }
    bool covers(std::uint64_t counter) const { return start <= counter && counter < end(); }
  };
  /// Fixed-size secrets in one block that is wiped when it goes.
  class Slots {
   public:
    explicit Slots(std::size_t stride) : stride_(stride) {}
    Slots(Slots&&) noexcept;
    Slots& operator=(Slots&&) noexcept;
    ~Slots();
    MutableByteView at(std::size_t i) const { return {bytes_.get() + i * stride_, stride_}; }
    void reserve(std::size_t used, std::size_t wanted);
    void move(std::size_t from, std::size_t to, std::size_t count);

   private:
    std::size_t stride_;
    std::size_t capacity_ = 0;
    std::unique_ptr<std::uint8_t[]> bytes_;
  };

  std::size_t secret_size(std::uint32_t level) const { return level == 0 ? key_size_ : node_size; }
  /// How many children of that level one hash gives.
  std::uint32_t together(std::uint32_t level) const { return static_cast<std::uint32_t>(hash_size_ / secret_size(level)); }
  /// The node that `counter` is under, or node_count().
  std::size_t find(std::uint64_t counter) const;
  /// `key`: what has been derived on the way to it is taken from there; may be null.
  void split(std::size_t node, std::uint64_t floor, FrameKey* key);
  /// Splits until `counter` is under a node of that level, or of a lower one.
  void approach(std::uint64_t counter, std::uint32_t level);
  void erase(std::size_t node);

  crypto::HashAlgorithm hash_;
  std::size_t hash_size_;
  std::size_t key_size_;
  std::uint64_t next_ = 0;    ///< one above the highest that was destroyed
  std::uint64_t looked_ahead_from_ = 0, looked_ahead_to_ = 0;
  std::vector<Place> places_; ///< highest first: in sequence the next one is at the end
  Slots secrets_;             ///< of the same index
};

/// A key, and the secrets between it and the one of the tree that it was derived from. On the stack, for the time of one frame; wiped.
class FrameKey {
 public:
  FrameKey() = default;
  FrameKey(const FrameKey&) = delete;
  FrameKey& operator=(const FrameKey&) = delete;
  ~FrameKey() { clear(); }

  /// The suite's frame_key_size bytes, once FrameKeyTree::derive gave it one.
  ByteView view() const { return ByteView(secrets_[0]).subspan(place_, size_); }

 private:
  friend FrameKeyTree;
  void clear();

  std::uint64_t counter_ = 0;
  std::size_t place_ = 0, size_ = 0;
  std::uint32_t levels_ = 0; ///< how many there are of these
  /// By level, those on the way from the key up, with what came from the same hash; what is not in use is not initialised.
  std::array<std::array<std::uint8_t, crypto::max_hash_size>, FrameKeyTree::levels> secrets_;
};

} // namespace satsuma::sframe
