#pragma once

#include <cstddef>

namespace satsuma {

/// Asks for memory that is wanted in a moment, to be written to as well, so that it comes from afar while other work is done. Any address will do, and nothing is to be seen of it but that it takes less time.
inline void prefetch(const void* at, std::size_t size) {
  constexpr std::size_t line = 64;
  for (std::size_t i = 0; i < size; i += line) __builtin_prefetch(static_cast<const char*>(at) + i, 1);
}

} // namespace satsuma
