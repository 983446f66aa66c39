// Arbitrary frames into a receiver that has keys of every suite, and what we protected must come back.
#include <cstddef>
#include <cstdint>

#include "sframe/shell.h"

using namespace satsuma;
using namespace satsuma::sframe;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  static constexpr CipherSuite suites[] = {CipherSuite::aes_128_ctr_hmac_sha256_80, CipherSuite::aes_128_ctr_hmac_sha256_32,
                                           CipherSuite::aes_128_gcm_sha256_128, CipherSuite::chacha20_poly1305_sha256_128};
  const CipherSuite suite = suites[data[0] % 4];
  const ShellKind kind = data[1] % 2 == 0 ? ShellKind::none : ShellKind::video;
  const ByteView input(data + 2, size - 2);
  const Bytes base_key(32, 1);

  Receiver receiver(suite);
  Sender sender(suite);
  for (std::uint64_t key_id : {0, 5, 65536, 65537}) SATSUMA_CHECK(receiver.add_key(key_id, base_key).has_value());
  sender.set_key(65536, base_key);

  const auto shell = kind == ShellKind::none ? Shell::none : static_cast<Shell>((data[0] >> 2) % (last_shell + 1));
  Bytes out(max_protected_size(shell, input.size())), back(out.size());
  (void)unprotect_frame(receiver, kind, input, out);
  const auto frame = protect_frame(sender, shell, input, out);
  SATSUMA_CHECK(frame.has_value());
  const auto opened = unprotect_frame(receiver, kind, *frame, back);
  SATSUMA_CHECK(opened.has_value() && equal(opened->plaintext, input));
  SATSUMA_CHECK(unprotect_frame(receiver, kind, *frame, back).error() == Error(sframe_replayed));
  return 0;
}
