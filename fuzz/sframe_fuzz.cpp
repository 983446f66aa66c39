// Arbitrary frames into a receiver that has a key for whoever they name, and what we protected must come back.
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
  ForgeryAllowance line{Bytes(32, 1)};
  Sender sender(suite);
  sender.set_key(65536, base_key);

  const auto shell = kind == ShellKind::none ? Shell::none : static_cast<Shell>((data[0] >> 2) % (last_shell + 1));
  Bytes out(max_protected_size(shell, input.size())), back(out.size());
  const auto receive = [&](ByteView bytes, MutableByteView plaintext) -> Result<Unprotected> {
    SATSUMA_TRY(const OpenedFrame opened, open_shell(kind, bytes));
    SATSUMA_TRY(const Header header, parse_frame_header(opened));
    if (!receiver.has_key(header.key_id)) receiver.try_key(header.key_id, base_key);
    return unprotect_frame(receiver, line, opened, plaintext);
  };
  (void)receive(input, out);
  const auto frame = protect_frame(sender, shell, input, out);
  SATSUMA_CHECK(frame.has_value());
  const auto opened = receive(*frame, back);
  SATSUMA_CHECK(opened.has_value() && equal(opened->plaintext, input));
  SATSUMA_CHECK(receive(*frame, back).error() == Error(sframe_replayed));
  return 0;
}
