#pragma once

#include "base/time.h"

namespace satsuma::io {

/// The machine's monotonic clock. Never goes back; its start is the machine's start.
TimePoint monotonic_now();

/// The calendar clock, for lifetimes of certificates and key packages. May jump.
UnixSeconds unix_now();

} // namespace satsuma::io
