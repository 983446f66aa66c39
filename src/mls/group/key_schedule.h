#pragma once

#include <vector>

#include "mls/group/labels.h"
#include "mls/wire/group_info.h"

/// The key schedule, RFC 9420 s.8. Each stage is a function of the one before:
///
///   init_secret[n-1], commit_secret  ->  joiner_secret  ->  (PSKs)  ->  welcome_secret, epoch_secret  ->  EpochSecrets
namespace satsuma::mls {

/// What is derived from epoch_secret, s.8 table 4. The epoch secret itself is gone by then.
struct EpochSecrets {
  SecretBytes sender_data_secret;
  SecretBytes encryption_secret; ///< emptied once the secret tree has it
  SecretBytes exporter_secret;
  SecretBytes external_secret;
  SecretBytes confirmation_key;
  SecretBytes membership_key;
  SecretBytes resumption_psk;
  SecretBytes epoch_authenticator;
  SecretBytes init_secret; ///< for the next epoch
  SecretBytes further_secret; ///< with a label of the caller's; empty where there is none, and once it was taken
};

SecretBytes derive_joiner_secret(const SuiteParameters& suite, ByteView init_secret, ByteView commit_secret, ByteView encoded_group_context);
SecretBytes derive_welcome_secret(const SuiteParameters& suite, ByteView joiner_secret, ByteView psk_secret);
EpochSecrets derive_epoch_secrets(const SuiteParameters& suite, ByteView joiner_secret, ByteView psk_secret, ByteView encoded_group_context,
                                  std::string_view further_label = {});
/// For a group of one in epoch 0, s.11: the epoch secret is drawn at random.
EpochSecrets epoch_secrets_from(const SuiteParameters& suite, ByteView epoch_secret, std::string_view further_label = {});

/// KDF.Nh zero bytes: the commit secret without a path, the PSK secret without PSKs.
SecretBytes zero_secret(const SuiteParameters& suite);

struct PskValue {
  PreSharedKeyId id;
  SecretBytes secret;
};
/// s.8.4
SecretBytes derive_psk_secret(const SuiteParameters& suite, const std::vector<PskValue>& psks);

/// s.8.3
struct ExternalInitSecret {
  Bytes kem_output;
  SecretBytes init_secret;
};
/// For who joins by an external commit; kem_key_invalid.
Result<ExternalInitSecret> send_external_init(const SuiteParameters& suite, ByteView external_pub, RandomSource& random);
crypto::KemKeyPair derive_external_key_pair(const SuiteParameters& suite, ByteView external_secret);
Result<SecretBytes> receive_external_init(const SuiteParameters& suite, ByteView external_secret, ByteView kem_output);

/// s.8.5
SecretBytes mls_exporter(const SuiteParameters& suite, ByteView exporter_secret, std::string_view label, ByteView context, std::size_t size);

/// s.6.1
Bytes compute_confirmation_tag(const SuiteParameters& suite, ByteView confirmation_key, ByteView confirmed_transcript_hash);

} // namespace satsuma::mls
