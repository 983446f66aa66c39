#pragma once

#include "base/random.h"
#include "mls/wire/leaf_node.h"

/// GREASE (RFC 9420 s.13.5): values that mean nothing, sent so that whoever refuses unknown ones is found out. Nothing here is for
/// receiving: there they are unknown values like any other.
namespace satsuma::mls {

std::uint16_t grease_value(RandomSource& random);
/// A type that means nothing, with up to 16 bytes of data.
Extension grease_extension(RandomSource& random);
/// One value for each list but the versions.
void add_grease(Capabilities& capabilities, RandomSource& random);

} // namespace satsuma::mls
