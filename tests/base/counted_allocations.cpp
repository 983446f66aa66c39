#include "counted_allocations.h"

#include <cstdlib>
#include <new>

namespace satsuma::test {

thread_local bool counting = false;
std::atomic<std::uint64_t> allocations = 0;

namespace {

void* counted(std::size_t size) {
  if (counting) ++allocations;
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}

} // namespace

} // namespace satsuma::test

void* operator new(std::size_t size) { return satsuma::test::counted(size); }
void* operator new[](std::size_t size) { return satsuma::test::counted(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
