#pragma once

// A test program that has counted_allocations.cpp among its sources counts what the global operator new allocates on the threads that say so.

#include <atomic>
#include <cstdint>

namespace satsuma::test {

extern thread_local bool counting;
extern std::atomic<std::uint64_t> allocations;

} // namespace satsuma::test
