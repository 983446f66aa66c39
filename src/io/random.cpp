#include "io/random.h"

#include <cerrno>
#include <sys/random.h>

namespace satsuma::io {

void SystemRandom::fill(MutableByteView out) {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue; // a large request may be interrupted by a signal
    SATSUMA_CHECK(got > 0);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

} // namespace satsuma::io
