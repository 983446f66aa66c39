#include "sframe/frame_keys.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace satsuma::sframe {

namespace {

constexpr std::uint32_t arity = 1u << FrameKeyTree::arity_bits;
constexpr std::string_view label = "satsuma frame";
// What a stream without losses needs, so that it never grows.
constexpr std::size_t usual_nodes = FrameKeyTree::levels * (arity - 1) + 3 * arity;

// docs/protocol.md s.4
class Parent {
 public:
  Parent(crypto::HashAlgorithm hash, ByteView secret) : hash_(hash) {
    SpanWriter writer(input_.mutable_view());
    writer.u32(1);
    writer.bytes(secret);
    writer.bytes(as_bytes(label));
  }
  /// Those that begin at counter `first`, as many as one hash gives.
  void derive(std::uint32_t level, std::uint32_t first, MutableByteView children) {
    SpanWriter writer(input_.mutable_view().last(5));
    writer.u8(static_cast<std::uint8_t>(level));
    writer.u32(first);
    crypto::hash_into(hash_, {input_.view()}, children);
  }

 private:
  crypto::HashAlgorithm hash_;
  SecretArray<4 + FrameKeyTree::node_size + label.size() + 5> input_;
  static_assert(sizeof input_ <= 64 - 9, "one block of SHA-256");
};

} // namespace

void FrameKey::clear() {
  for (; levels_ > 0; --levels_) wipe(secrets_[levels_ - 1]);
}

FrameKeyTree::Slots::Slots(Slots&& other) noexcept
    : stride_(other.stride_), capacity_(std::exchange(other.capacity_, 0)), bytes_(std::move(other.bytes_)) {}

FrameKeyTree::Slots& FrameKeyTree::Slots::operator=(Slots&& other) noexcept {
  std::swap(stride_, other.stride_);
  std::swap(capacity_, other.capacity_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

FrameKeyTree::Slots::~Slots() {
  if (bytes_ != nullptr) wipe({bytes_.get(), capacity_ * stride_});
}

void FrameKeyTree::Slots::reserve(std::size_t used, std::size_t wanted) {
  if (wanted <= capacity_) return;
  const std::size_t capacity = std::max(wanted, std::min(2 * capacity_, max_nodes));
  auto bytes = std::make_unique<std::uint8_t[]>(capacity * stride_);
  if (bytes_ != nullptr) {
    std::memcpy(bytes.get(), bytes_.get(), used * stride_);
    wipe({bytes_.get(), capacity_ * stride_});
  }
  bytes_ = std::move(bytes);
  capacity_ = capacity;
}

void FrameKeyTree::Slots::move(std::size_t from, std::size_t to, std::size_t count) {
  std::memmove(bytes_.get() + to * stride_, bytes_.get() + from * stride_, count * stride_);
}

FrameKeyTree::FrameKeyTree(CipherSuite suite, ByteView root)
    : hash_(parameters(suite).hash),
      hash_size_(crypto::hash_size(hash_)),
      key_size_(parameters(suite).frame_key_size),
      secrets_(std::max(node_size, key_size_)) {
  SATSUMA_CHECK(root.size() == node_size);
  places_.reserve(usual_nodes);
  secrets_.reserve(0, usual_nodes);
  places_.push_back({0, levels});
  std::memcpy(secrets_.at(0).data(), root.data(), root.size());
}

std::size_t FrameKeyTree::find(std::uint64_t counter) const {
  if (!places_.empty() && places_.back().covers(counter)) return places_.size() - 1; // in sequence
  const auto found = std::ranges::lower_bound(places_, counter, std::ranges::greater{}, &Place::start);
  return found != places_.end() && found->covers(counter) ? static_cast<std::size_t>(found - places_.begin()) : places_.size();
}

std::optional<std::uint32_t> FrameKeyTree::distance(std::uint64_t counter) const {
  const std::size_t node = find(counter);
  if (node == places_.size()) return std::nullopt;
  return places_[node].level;
}

std::optional<ByteView> FrameKeyTree::at_hand(std::uint64_t counter) const {
  const std::size_t node = find(counter);
  if (node == places_.size() || places_[node].level != 0) return std::nullopt;
  return secrets_.at(node).first(key_size_);
}

bool FrameKeyTree::derive(std::uint64_t counter, FrameKey& key) const {
  key.clear();
  const std::size_t node = find(counter);
  if (node == places_.size()) return false;
  key.counter_ = counter;
  key.place_ = 0;
  key.size_ = key_size_;
  std::uint32_t level = places_[node].level;
  ByteView secret = secrets_.at(node).first(secret_size(level));
  if (level == 0) {
    std::memcpy(key.secrets_[0].data(), secret.data(), secret.size());
    key.levels_ = 1;
    return true;
  }
  key.levels_ = level;
  while (level-- > 0) {
    const auto child = static_cast<std::uint32_t>(counter >> (arity_bits * level));
    const std::uint32_t place = child % together(level);
    const MutableByteView secrets = MutableByteView(key.secrets_[level]).first(together(level) * secret_size(level));
    Parent(hash_, secret).derive(level, (child - place) << (arity_bits * level), secrets);
    key.place_ = place * secret_size(level);
    secret = secrets.subspan(key.place_, secret_size(level));
  }
  return true;
}

void FrameKeyTree::destroy(FrameKey& key, std::uint64_t floor) {
  SATSUMA_CHECK(key.levels_ > 0);
  floor -= floor % floor_step;
  while (!places_.empty() && places_.back().start < floor) {
    if (places_.back().end() <= floor) erase(places_.size() - 1);
    else split(places_.size() - 1, floor, &key);
  }
  std::size_t node = find(key.counter_);
  if (node == places_.size()) return;
  for (; places_[node].level > 0; node = find(key.counter_)) split(node, floor, &key);
  erase(node);
  next_ = std::max(next_, key.counter_ + 1);
}

void FrameKeyTree::look_ahead() {
  if (next_ == looked_ahead_from_) return;
  looked_ahead_from_ = next_;
  // What lies ahead is under two nodes of this size at most.
  constexpr std::uint64_t block = std::uint64_t{arity} * arity;
  static_assert(ahead <= block);
  if (next_ + ahead > looked_ahead_to_) {
    approach(next_, 1);
    approach(next_ + ahead - 1, 1);
    looked_ahead_to_ = (next_ + ahead - 1) / block * block + block;
  }
  approach(next_, 0);
}

void FrameKeyTree::approach_near(std::uint64_t counter) {
  if (counter < next_ || counter - next_ >= ahead) return;
  const std::size_t node = find(counter);
  if (node != places_.size() && places_[node].level == 1) split(node, 0, nullptr);
}

void FrameKeyTree::approach(std::uint64_t counter, std::uint32_t level) {
  for (std::size_t node = find(counter); node != places_.size() && places_[node].level > level; node = find(counter)) split(node, 0, nullptr);
}

// Puts the children in the place of the node, those of them that `floor` leaves something of.
void FrameKeyTree::split(std::size_t node, std::uint64_t floor, FrameKey* key) {
  const Place place = places_[node];
  const std::uint32_t level = place.level - 1;
  const std::uint32_t width = 1u << (arity_bits * level);
  const std::uint32_t first = floor > place.start ? static_cast<std::uint32_t>((floor - place.start) / width) : 0;
  SATSUMA_CHECK(place.level > 0 && first < arity);
  const std::uint32_t count = arity - first;

  const bool on_the_way = key != nullptr && place.covers(key->counter_);
  SATSUMA_CHECK(!on_the_way || level < key->levels_);
  Parent parent(hash_, secrets_.at(node).first(node_size));
  const std::size_t nodes = places_.size();
  SATSUMA_CHECK(nodes + count - 1 <= max_nodes);
  secrets_.reserve(nodes, nodes + count - 1);
  secrets_.move(node + 1, node + count, nodes - node - 1);
  places_.insert(places_.begin() + static_cast<std::ptrdiff_t>(node), count - 1, {});
  const std::size_t size = secret_size(level);
  const std::uint32_t siblings = together(level);
  SecretArray<crypto::max_hash_size> expanded;
  for (std::uint32_t i = arity; i-- > first;) {
    if (i % siblings == siblings - 1) {
      const Place all{place.start + (i + 1 - siblings) * width, level};
      const MutableByteView secrets = expanded.mutable_view().first(siblings * size);
      if (on_the_way && all.start <= key->counter_ && key->counter_ < all.start + siblings * width) std::memcpy(secrets.data(), key->secrets_[level].data(), secrets.size());
      else parent.derive(level, all.start, secrets);
    }
    const std::size_t child = node + (arity - 1 - i);
    places_[child] = {place.start + i * width, level};
    std::memcpy(secrets_.at(child).data(), expanded.view().data() + i % siblings * size, size);
    wipe(secrets_.at(child).subspan(size)); // what lay there before may have been longer
  }
}

void FrameKeyTree::erase(std::size_t node) {
  secrets_.move(node + 1, node, places_.size() - node - 1);
  wipe(secrets_.at(places_.size() - 1));
  places_.erase(places_.begin() + static_cast<std::ptrdiff_t>(node));
}

} // namespace satsuma::sframe
