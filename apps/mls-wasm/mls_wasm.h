// The flat C ABI of the MLS module: one call, whose request and answer are in the TLS presentation language as MLS writes it (RFC 9420 s.2).
// mls_wasm.cpp says for each operation what they hold; packages/mls/src/calls.ts is the other side.
//
// - Handles are positive integers, never given out twice. What is made (keys, groups, stages) lives until satsuma_mls_release.
// - The module never keeps a pointer that was passed in. A pointer that it hands out is valid until the next call.
// - While the host is asked whose a credential is, it calls nothing here: satsuma_mls_call is then the error called_by_verifier, and satsuma_mls_release
//   would free what is in use. When it says that it failed, the call is verifier_failed and has made nothing.
// - Any call may grow the memory: make typed-array views anew after each.
#pragma once

#include <cstdint>

#define SATSUMA_EXPORT(name) extern "C" __attribute__((export_name(#name), used))

/// 2. Ask first, and refuse another.
SATSUMA_EXPORT(satsuma_mls_abi_version) std::uint32_t satsuma_mls_abi_version();
/// Memory inside the module for a request; `size` at free is the one of alloc. 0 when `size` is 0 or above 64 MiB.
SATSUMA_EXPORT(satsuma_mls_alloc) std::uint8_t* satsuma_mls_alloc(std::uint32_t size);
/// Wipes and frees.
SATSUMA_EXPORT(satsuma_mls_free) void satsuma_mls_free(std::uint8_t* pointer, std::uint32_t size);
/// Runs one operation. The answer is { uint32 status; uint32 size; uint8 payload[size]; }, little endian: status 0 with the operation's
/// answer, or 1 with the error { uint8 kind (0 peer, 1 environment, 2 caller); name to the end }.
SATSUMA_EXPORT(satsuma_mls_call) const std::uint8_t* satsuma_mls_call(std::uint32_t operation, const std::uint8_t* request, std::uint32_t size);
/// Wipes what the handle stands for. Unknown ones are ignored.
SATSUMA_EXPORT(satsuma_mls_release) void satsuma_mls_release(std::uint32_t handle);
/// How many handles are held: for tests and for whoever looks for a leak.
SATSUMA_EXPORT(satsuma_mls_handles) std::uint32_t satsuma_mls_handles();
