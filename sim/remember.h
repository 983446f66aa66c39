#pragma once

namespace satsuma::sim {

/// Whether answers are remembered (see remember.cpp). Also forgets them.
void remember_checks(bool on);

} // namespace satsuma::sim
