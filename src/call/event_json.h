#pragma once

#include <string>

#include "call/client_session.h"

namespace satsuma::call {

/// An event of the session as apps/wasm/README.md writes it down: UTF-8, whatever the server or the others sent. Empty for
/// the outputs that are no events (SendBinary, Reconnect, Close).
std::string event_json(const SessionOutput& output);

} // namespace satsuma::call
