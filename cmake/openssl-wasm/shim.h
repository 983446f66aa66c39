/* What OpenSSL's sources call and wasi-libc has not. Included before each of them. */
#ifndef SATSUMA_OPENSSL_WASM_SHIM_H
#define SATSUMA_OPENSSL_WASM_SHIM_H

/* randfile.c wants to protect its seed file; the module has no files. */
#define chmod(path, mode) (-1)

#endif
