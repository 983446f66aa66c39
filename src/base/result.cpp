#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace satsuma {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "CHECK failed: %s at %s:%d\n", condition, file, line);
  std::abort();
}

} // namespace satsuma
