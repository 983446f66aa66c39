#include "mls/group/key_schedule.h"

namespace satsuma::mls {

SecretBytes zero_secret(const SuiteParameters& suite) { return SecretBytes(suite.hash_size()); }

SecretBytes derive_joiner_secret(const SuiteParameters& suite, ByteView init_secret, ByteView commit_secret, ByteView encoded_group_context) {
  const SecretBytes extracted = crypto::hkdf_extract(suite.hash, init_secret, commit_secret);
  return expand_with_label(suite, extracted.view(), "joiner", encoded_group_context, suite.hash_size());
}

SecretBytes derive_welcome_secret(const SuiteParameters& suite, ByteView joiner_secret, ByteView psk_secret) {
  const SecretBytes extracted = crypto::hkdf_extract(suite.hash, joiner_secret, psk_secret);
  return derive_secret(suite, extracted.view(), "welcome");
}

EpochSecrets derive_epoch_secrets(const SuiteParameters& suite, ByteView joiner_secret, ByteView psk_secret, ByteView encoded_group_context,
                                  std::string_view further_label) {
  const SecretBytes extracted = crypto::hkdf_extract(suite.hash, joiner_secret, psk_secret);
  const SecretBytes epoch_secret = expand_with_label(suite, extracted.view(), "epoch", encoded_group_context, suite.hash_size());
  return epoch_secrets_from(suite, epoch_secret.view(), further_label);
}

EpochSecrets epoch_secrets_from(const SuiteParameters& suite, ByteView epoch_secret, std::string_view further_label) {
  const auto derive = [&](std::string_view label) { return derive_secret(suite, epoch_secret, label); };
  return {derive("sender data"), derive("encryption"), derive("exporter"),       derive("external"), derive("confirm"),
          derive("membership"),  derive("resumption"), derive("authentication"), derive("init"),
          further_label.empty() ? SecretBytes() : derive(further_label)};
}

SecretBytes derive_psk_secret(const SuiteParameters& suite, const std::vector<PskValue>& psks) {
  SecretBytes psk_secret = zero_secret(suite);
  for (std::size_t i = 0; i < psks.size(); ++i) {
    const SecretBytes extracted = crypto::hkdf_extract(suite.hash, zero_secret(suite).view(), psks[i].secret.view());
    ByteWriter label;
    psks[i].id.write(label);
    label.u16(static_cast<std::uint16_t>(i));
    label.u16(static_cast<std::uint16_t>(psks.size()));
    const SecretBytes input = expand_with_label(suite, extracted.view(), "derived psk", label.view(), suite.hash_size());
    psk_secret = crypto::hkdf_extract(suite.hash, input.view(), psk_secret.view());
  }
  return psk_secret;
}

crypto::KemKeyPair derive_external_key_pair(const SuiteParameters& suite, ByteView external_secret) {
  return crypto::kem_derive_key_pair(suite.kem, external_secret);
}

namespace {
constexpr std::string_view external_init_label = "MLS 1.0 external init secret";
}

Result<ExternalInitSecret> send_external_init(const SuiteParameters& suite, ByteView external_pub, RandomSource& random) {
  SATSUMA_TRY(const crypto::HpkeSender sender, crypto::hpke_setup_sender(suite.hpke(), external_pub, {}, random));
  return ExternalInitSecret{sender.encapsulated, sender.context.export_secret(as_bytes(external_init_label), suite.hash_size())};
}

Result<SecretBytes> receive_external_init(const SuiteParameters& suite, ByteView external_secret, ByteView kem_output) {
  const crypto::KemKeyPair keys = derive_external_key_pair(suite, external_secret);
  SATSUMA_TRY(const crypto::HpkeContext context, crypto::hpke_setup_receiver(suite.hpke(), kem_output, keys.private_key.view(), keys.public_key, {}));
  return context.export_secret(as_bytes(external_init_label), suite.hash_size());
}

SecretBytes mls_exporter(const SuiteParameters& suite, ByteView exporter_secret, std::string_view label, ByteView context, std::size_t size) {
  const SecretBytes derived = derive_secret(suite, exporter_secret, label);
  return expand_with_label(suite, derived.view(), "exported", crypto::hash(suite.hash, context), size);
}

Bytes compute_confirmation_tag(const SuiteParameters& suite, ByteView confirmation_key, ByteView confirmed_transcript_hash) {
  return crypto::hmac(suite.hash, confirmation_key, {confirmed_transcript_hash});
}

} // namespace satsuma::mls
