/** Numbers of the registry, RFC 9420 s.17.1. */
export const cipherSuites = {
  x25519Aes128GcmSha256Ed25519: 1,
  p256Aes128GcmSha256P256: 2,
  x25519ChaCha20Poly1305Sha256Ed25519: 3,
  x448Aes256GcmSha512Ed448: 4,
  p521Aes256GcmSha512P521: 5,
  x448ChaCha20Poly1305Sha512Ed448: 6,
  p384Aes256GcmSha384P384: 7,
  /** Without a number in the registry: one for private use, of this module as it is built by default. */
  mlKem768X25519ChaCha20Poly1305Sha256Ed25519: 0xf47a,
} as const;
/** One of `cipherSuites`, or another number that `Mls.suites` lists. */
export type CipherSuite = number;

/** RFC 9420 s.5.3. What it says is the application's to check. */
export type Credential =
  | { readonly type: "basic"; readonly identity: Uint8Array }
  | { readonly type: "x509"; readonly certificates: readonly Uint8Array[] };

export interface Extension {
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Member {
  readonly leaf: number;
  readonly signatureKey: Uint8Array;
  readonly credential: Credential;
}

/** RFC 9420 s.8.4, without the nonce, which is made when it is proposed. */
export type PskId =
  | { readonly type: "external"; readonly id: Uint8Array }
  | { readonly type: "resumption"; readonly groupId: Uint8Array; readonly epoch: bigint };
export type Psk = PskId & { readonly secret: Uint8Array };

/** What a commit does to the group: for your policy, before it is merged. */
export interface CommitEffects {
  readonly nextEpoch: bigint;
  /** We are removed by it; merging makes the group inactive. */
  readonly removesSelf: boolean;
  /** The leaf of who made it; undefined when somebody joins by an external commit. */
  readonly committer: number | undefined;
  readonly externalJoiner: number | undefined;
  readonly added: readonly Member[];
  readonly removed: readonly Member[];
  readonly updated: readonly { readonly before: Member; readonly after: Member }[];
  readonly extensionsChanged: boolean;
  /** It ends the group, for a successor with other parameters. */
  readonly reinitialises: boolean;
}

export type Proposal =
  | { readonly type: "add"; readonly keyPackage: Uint8Array }
  | { readonly type: "remove"; readonly leaf: number }
  | { readonly type: "psk"; readonly id: PskId }
  | { readonly type: "reinit"; readonly groupId: Uint8Array; readonly suite: CipherSuite; readonly extensions?: readonly Extension[] }
  | { readonly type: "groupContextExtensions"; readonly extensions: readonly Extension[] };

export interface CachedProposal {
  readonly senderType: "member" | "external" | "newMember";
  /** A member's leaf, or the place among the external senders. */
  readonly sender: number;
  /** RFC 9420 s.17.4 */
  readonly proposalType: number;
}

export interface CommitOptions {
  /** MLSMessages with key packages. Each is verified; one that is invalid fails the commit. */
  readonly add?: readonly Uint8Array[];
  /** Leaves. */
  readonly remove?: readonly number[];
  readonly psks?: readonly PskId[];
  /** Values for `psks`; resumption secrets of this group are known to it. */
  readonly pskValues?: readonly Psk[];
  readonly groupContextExtensions?: readonly Extension[];
  /** Refers to the proposals that were received and made in this epoch. */
  readonly includeCachedProposals?: boolean;
  /** New keys for our path, which heals the group after a theft of our state. True unless said otherwise. */
  readonly forcePath?: boolean;
  readonly privateMessage?: boolean;
  /** True unless said otherwise; without it who joins needs the tree from elsewhere. */
  readonly ratchetTreeInWelcome?: boolean;
  readonly authenticatedData?: Uint8Array;
}

export interface KeyPackageOptions {
  readonly credential: Credential;
  /** Seconds since 1970. For ever unless said otherwise. */
  readonly notBefore?: bigint;
  readonly notAfter?: bigint;
  readonly leafExtensions?: readonly Extension[];
  readonly extensions?: readonly Extension[];
  /** To be used again when no other is left (RFC 9420 s.16.8). */
  readonly lastResort?: boolean;
}

export interface ExternalJoinOptions extends JoinOptions {
  /** Our old leaf, to be removed in the same commit. */
  readonly resync?: number;
  /** PSKs to bring in; their values stand in `psks`. */
  readonly pskIds?: readonly PskId[];
  readonly authenticatedData?: Uint8Array;
}

/** A group as somebody outside of it sees it. */
export interface GroupReference {
  readonly suite: CipherSuite;
  readonly groupId: Uint8Array;
  readonly epoch: bigint;
  readonly authenticatedData?: Uint8Array;
}

export interface SuccessorOptions {
  /** MLSMessages with the others' key packages. */
  readonly members: readonly Uint8Array[];
  readonly padding?: number;
}

export interface JoinOptions {
  /** The tree, where the Welcome has none. */
  readonly ratchetTree?: Uint8Array;
  readonly psks?: readonly Psk[];
  /** Private messages are padded to a multiple of this many bytes. */
  readonly padding?: number;
}

/** Who is who (RFC 9420 s.5.3.1): asked when a commit is made or received, and for everyone in a group that is joined. Must not call the library. */
export interface CredentialVerifier {
  /** Whether `signatureKey` is the one of whom `credential` names; false is `mls_credential_rejected`. What it throws is thrown by the call that asked. */
  verify(credential: Credential, signatureKey: Uint8Array): boolean;
  /** Whether a leaf with `after` may take the place of one with `before`. Unless given: when `sameClient` says so. */
  verifySuccessor?(before: Credential, after: Credential): boolean;
  /** Whether both name the same client: for branches and reinitialised groups. Unless given: when they are the same to the byte. */
  sameClient?(a: Credential, b: Credential): boolean;
}

/** Bounds on what others can make grow. Each has a default that serves 10,000 members. */
export interface GroupLimits {
  /** More are `mls_too_many_members`. 16384. */
  readonly maxMembers?: number;
  /** In an epoch, and in one commit; more are `mls_too_many_proposals`. 16384. */
  readonly maxProposals?: number;
  /** Updates of our own that wait for somebody's commit; the oldest goes first. 16. */
  readonly maxPendingUpdates?: number;
  /** Epochs whose messages can still be read when they come late. 2; at most 15. */
  readonly maxPastEpochs?: number;
  /** Past resumption secrets that are kept. 64. */
  readonly maxPastResumptionPsks?: number;
  /** How far one message may jump ahead in its sender's ratchet; more is `mls_generation_too_far`. 1024. */
  readonly maxSkip?: number;
  /** Keys of messages not seen, kept for one sender. 1024. */
  readonly maxKept?: number;
  /** The same for all senders of an epoch together. 16384. */
  readonly maxKeptInEpoch?: number;
}

export interface MlsSettings {
  /** Without one, basic credentials are taken as they stand and X.509 ones are `mls_credential_unverified`. */
  readonly credentialVerifier?: CredentialVerifier;
  /** Leaves from key packages outside of their lifetime are `mls_lifetime_over`, by the host's clock. False unless said otherwise. */
  readonly checkLifetimes?: boolean;
  /** Seconds; longer lifetimes are `mls_lifetime_too_long`. */
  readonly maxLifetime?: bigint;
  /** Of groups that are made, joined and loaded from now on. */
  readonly limits?: GroupLimits;
}
