#pragma once

namespace satsuma::sim {

/// Whether answers are remembered (see remember.cpp). Also forgets them.
/// Only with World's cores = 1: another thread than the caller's that asks ends the process.
void remember_checks(bool on);

} // namespace satsuma::sim
