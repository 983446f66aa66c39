#pragma once

// The heap of a test program that looks at what is in memory, and at how much of it is asked for. Replaces the global allocation functions, so it is
// included in one source file of a program of its own.
#include <openssl/crypto.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>

#include "base/secret.h"

namespace satsuma::heap {

/// Everything that is asked for while `on`, by us or by OpenSSL, comes from here and is never used again: so a look at it sees what was freed too.
struct Arena {
  static constexpr std::size_t capacity = 64 << 20;
  alignas(64) unsigned char bytes[capacity];
  std::size_t used = 0;
  std::size_t allocations = 0;
  bool on = false;

  bool owns(const void* p) const { return p >= bytes && p < bytes + capacity; }
  void* take(std::size_t size) {
    ++allocations;
    const std::size_t whole = (size + 16 + 63) / 64 * 64;
    if (used + whole > capacity) std::abort();
    unsigned char* block = bytes + used;
    used += whole;
    *reinterpret_cast<std::size_t*>(block) = size;
    return block + 16;
  }
  static std::size_t size_of(const void* p) { return *reinterpret_cast<const std::size_t*>(static_cast<const unsigned char*>(p) - 16); }
};
inline Arena arena;

inline void* allocate(std::size_t size) { return arena.on ? arena.take(size) : std::malloc(size == 0 ? 1 : size); }
inline void release(void* p) {
  if (!arena.owns(p)) std::free(p);
}
inline void* openssl_malloc(std::size_t size, const char*, int) { return allocate(size); }
inline void openssl_free(void* p, const char*, int) { release(p); }
inline void* openssl_realloc(void* p, std::size_t size, const char*, int) {
  if (!arena.on && !arena.owns(p)) return std::realloc(p, size);
  void* fresh = allocate(size);
  if (p != nullptr) {
    if (!arena.owns(p)) std::abort(); // what was there before has no size that we know
    std::memcpy(fresh, p, std::min(size, Arena::size_of(p)));
    release(p);
  }
  return fresh;
}
/// First in main, before OpenSSL asked for anything.
inline bool take_over_openssl_heap() { return CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) == 1; }

/// From an empty arena; ends with the scope.
struct Recording {
  Recording() {
    wipe({arena.bytes, arena.used});
    arena.used = arena.allocations = 0;
    arena.on = true;
  }
  ~Recording() { arena.on = false; }
};

inline bool arena_contains(ByteView memory, ByteView bytes) {
  return std::search(memory.begin(), memory.end(), std::boyer_moore_horspool_searcher(bytes.begin(), bytes.end())) != memory.end();
}

} // namespace satsuma::heap

void* operator new(std::size_t size) { return satsuma::heap::allocate(size); }
void* operator new[](std::size_t size) { return satsuma::heap::allocate(size); }
void operator delete(void* p) noexcept { satsuma::heap::release(p); }
void operator delete[](void* p) noexcept { satsuma::heap::release(p); }
void operator delete(void* p, std::size_t) noexcept { satsuma::heap::release(p); }
void operator delete[](void* p, std::size_t) noexcept { satsuma::heap::release(p); }
