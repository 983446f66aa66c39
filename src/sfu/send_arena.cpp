#include "sfu/send_arena.h"

namespace satsuma::sfu {

MutableByteView SendArena::take(std::size_t size) {
  SATSUMA_CHECK(size <= chunk_size);
  if (chunk_ < chunks_.size() && used_ + size > chunk_size) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    if ((chunks_.size() + 1) * chunk_size > limit_) return {};
    chunks_.push_back(std::make_unique_for_overwrite<std::uint8_t[]>(chunk_size));
    used_ = 0;
  }
  MutableByteView out(chunks_[chunk_].get() + used_, size);
  used_ += size;
  return out;
}

void SendArena::clear() {
  chunk_ = 0;
  used_ = 0;
}

} // namespace satsuma::sfu
