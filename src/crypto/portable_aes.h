#pragma once

#include "crypto/cipher.h"

/// AES where the machine has no instructions for it, as WebAssembly has none: BearSSL's, bit-sliced, four blocks at a time, with
/// neither branches nor addresses that depend on a secret. Its GHASH multiplies 64-bit integers: constant-time where the engine's multiplication is
/// (docs/adr/aes-in-webassembly.md). No key is left in memory: what these functions had on the stack is overwritten.
///
/// Behind AeadKey, OneTimeAead and OneTimeAesCtr, which have the contracts; only the wasm preset compiles it.
namespace satsuma::crypto::portable_aes {

MutableByteView seal_gcm(const AeadStart& start, ByteView associated_data, ByteView plaintext, MutableByteView out);
Result<MutableByteView> open_gcm(const AeadStart& start, ByteView associated_data, ByteView ciphertext, MutableByteView out);
void crypt_ctr(ByteView key, ByteView initial_counter, ByteView in, MutableByteView out);

} // namespace satsuma::crypto::portable_aes
