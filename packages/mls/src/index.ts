/**
 * Messaging Layer Security (RFC 9420) for node and browsers. Begin with `Mls.load()`; README.md walks through it.
 *
 * Secrets live in the WASM module's memory, behind objects that are released with `free()`, or by the garbage collector in its own time.
 */
import { Calls, type Operation } from "./calls.ts";
import { orNone, readCredential, readEffects, readExtensions, readMember, writeCredential, writeExtensions, writePskId, writePsks } from "./codec.ts";
import type {
  CachedProposal,
  CipherSuite,
  CommitEffects,
  CommitOptions,
  Credential,
  CredentialVerifier,
  Extension,
  ExternalJoinOptions,
  GroupReference,
  JoinOptions,
  KeyPackageOptions,
  Member,
  MlsSettings,
  Proposal,
  Psk,
  SuccessorOptions,
} from "./types.ts";
import { Writer, type Reader } from "./wire.ts";

export { MlsError, type MlsErrorKind } from "./calls.ts";
export * from "./types.ts";

const maxUint64 = 0xffffffffffffffffn;
const released = new FinalizationRegistry<{ readonly calls: Calls; readonly handle: number }>(({ calls, handle }) => calls.release(handle));

/** Something that the module holds. */
abstract class Held {
  /** @internal */ readonly calls: Calls;
  private held: number | undefined;

  /** @internal */
  constructor(calls: Calls, handle: number) {
    this.calls = calls;
    this.held = handle;
    released.register(this, { calls, handle }, this);
  }
  /** @internal */
  get handle(): number {
    if (this.held === undefined) throw new Error("used after it was freed or merged");
    return this.held;
  }
  /** Wipes what stands behind it; it cannot be used any more. */
  free(): void {
    if (this.held !== undefined) this.calls.release(this.held);
    this.forget();
  }
  /** @internal The module has used it up. */
  forget(): void {
    this.held = undefined;
    released.unregister(this);
  }
  /** @internal */
  protected ask(operation: Operation, write: (request: Writer) => void = () => undefined): Reader {
    return this.calls.call(operation, (request) => write(request.u32(this.handle)));
  }
}

/** A signature key pair; key packages made with it share it. */
export class SignatureKeys extends Held {
  readonly suite: CipherSuite;
  readonly publicKey: Uint8Array;
  /** @internal */
  constructor(calls: Calls, handle: number, suite: CipherSuite, publicKey: Uint8Array) {
    super(calls, handle);
    this.suite = suite;
    this.publicKey = publicKey;
  }
  /** For keeping it; see `Mls.importSignatureKeys`. */
  exportPrivateKey(): Uint8Array {
    return this.ask("signaturePrivateKey").opaque();
  }
}

/** A key package with the private keys that belong to it: what one needs to be added to a group. Use it for one group. */
export class KeyPackage extends Held {
  /** The MLSMessage to publish. */
  readonly message: Uint8Array;
  /** @internal */
  constructor(calls: Calls, handle: number, message: Uint8Array) {
    super(calls, handle);
    this.message = message;
  }
  /** With the private keys: encrypt it where you keep it. */
  store(): Uint8Array {
    return this.ask("keyPackageStore").opaque();
  }
}

/** A key package of somebody else that was verified as such; whether its credential is theirs is yours to check. */
export interface VerifiedKeyPackage {
  readonly suite: CipherSuite;
  readonly signatureKey: Uint8Array;
  readonly credential: Credential;
  readonly notBefore: bigint;
  readonly notAfter: bigint;
  readonly extensions: readonly Extension[];
}

/** A commit of somebody else that was checked completely. Look at the effects, then `group.merge(it)` or `free()` it. */
export class StagedCommit extends Held {
  readonly effects: CommitEffects;
  /** @internal */
  constructor(calls: Calls, handle: number, effects: CommitEffects) {
    super(calls, handle);
    this.effects = effects;
  }
}

/** Our own commit. Send `commit`; merge this when it comes back ordered, or free it when another's came first. */
export class PendingCommit extends StagedCommit {
  /** MLSMessage, for the members. */
  readonly commit: Uint8Array;
  /** MLSMessage, for those who are added: to be delivered once the commit is accepted. */
  readonly welcome: Uint8Array | undefined;
  /** @internal */
  constructor(calls: Calls, handle: number, effects: CommitEffects, commit: Uint8Array, welcome: Uint8Array | undefined) {
    super(calls, handle, effects);
    this.commit = commit;
    this.welcome = welcome;
  }
  /** To be kept before the commit is sent, so that it can be merged after a restart. */
  store(): Uint8Array {
    return this.ask("pendingStore").opaque();
  }
}

/** What a member changes in its own leaf; the encryption key is new in any case. */
export interface LeafChanges {
  readonly signatureKeys?: SignatureKeys;
  /** Of the same identity: another is `mls_credential_rejected`, here and by those who receive it. */
  readonly credential?: Credential;
}

function writeLeafChanges(out: Writer, changes: LeafChanges = {}): void {
  out.optional(changes.signatureKeys, (w, keys) => w.u32(keys.handle));
  out.optional(changes.credential, writeCredential);
}

/** An external commit of ours. Send `commit`; `merge` when it comes back ordered, free it when another's came first. */
export class ExternalJoin extends Held {
  /** MLSMessage, for the members. */
  readonly commit: Uint8Array;
  /** @internal */
  constructor(calls: Calls, handle: number, commit: Uint8Array) {
    super(calls, handle);
    this.commit = commit;
  }
  merge(): Group {
    const group = new Group(this.calls, this.ask("externalJoinMerge").u32());
    this.forget();
    return group;
  }
}

/** A group that follows another, in epoch 1, and the Welcome for its other members. */
export interface Successor {
  readonly group: Group;
  readonly welcome: Uint8Array | undefined;
}

function readSuccessor(calls: Calls, from: Reader): Successor {
  return { group: new Group(calls, from.u32()), welcome: from.optional((r) => r.opaque()) };
}

export type Received =
  | {
      readonly kind: "application";
      /** A leaf of `epoch`: by now somebody else may stand there, so look at `from`. */
      readonly sender: number;
      readonly epoch: bigint;
      readonly from: Member;
      readonly data: Uint8Array;
      readonly authenticatedData: Uint8Array;
    }
  | { readonly kind: "proposal"; readonly proposal: CachedProposal; readonly authenticatedData: Uint8Array }
  | { readonly kind: "commit"; readonly staged: StagedCommit; readonly authenticatedData: Uint8Array };

interface Context {
  readonly suite: CipherSuite;
  readonly groupId: Uint8Array;
  readonly epoch: bigint;
  readonly extensions: readonly Extension[];
  readonly treeHash: Uint8Array;
}

function readContext(from: Reader): Context {
  return { suite: from.u16(), groupId: from.opaque(), epoch: from.u64(), extensions: readExtensions(from), treeHash: from.opaque() };
}

function readProposal(from: Reader): CachedProposal {
  const type = from.u8();
  return { senderType: type === 1 ? "member" : type === 2 ? "external" : "newMember", sender: from.u32(), proposalType: from.u16() };
}

function readPending(calls: Calls, from: Reader): PendingCommit {
  const handle = from.u32();
  const commit = from.opaque();
  const welcome = from.optional((r) => r.opaque());
  return new PendingCommit(calls, handle, readEffects(from), commit, welcome);
}

function writeProposal(out: Writer, proposal: Proposal): void {
  switch (proposal.type) {
    case "add":
      out.u8(1).opaque(proposal.keyPackage);
      break;
    case "remove":
      out.u8(3).u32(proposal.leaf);
      break;
    case "psk":
      writePskId(out.u8(4), proposal.id);
      break;
    case "reinit":
      writeExtensions(out.u8(5).opaque(proposal.groupId).u16(proposal.suite), proposal.extensions);
      break;
    case "groupContextExtensions":
      writeExtensions(out.u8(7), proposal.extensions);
      break;
  }
}

/** A member's view of a group. Whatever throws has left it as it was. */
export class Group extends Held {
  private context(): Context & { readonly ownLeaf: number; readonly active: boolean } {
    const answer = this.ask("groupState");
    return { ...readContext(answer), ownLeaf: answer.u32(), active: answer.bool() };
  }
  get suite(): CipherSuite {
    return this.context().suite;
  }
  get groupId(): Uint8Array {
    return this.context().groupId;
  }
  get epoch(): bigint {
    return this.context().epoch;
  }
  get extensions(): readonly Extension[] {
    return this.context().extensions;
  }
  get treeHash(): Uint8Array {
    return this.context().treeHash;
  }
  get ownLeaf(): number {
    return this.context().ownLeaf;
  }
  /** False once we were removed, or the group was reinitialised. */
  get active(): boolean {
    return this.context().active;
  }
  members(): Member[] {
    return this.ask("groupMembers").vector(readMember);
  }
  private bytes(which: number): Uint8Array {
    return this.ask("groupBytes", (w) => w.u8(which)).opaque();
  }
  /** The same for all members of the epoch, and for nobody else: compare it to know that you are in one group (RFC 9420 s.8.7). */
  get epochAuthenticator(): Uint8Array {
    return this.bytes(0);
  }
  get confirmationTag(): Uint8Array {
    return this.bytes(1);
  }
  /** RFC 9420 s.8.6 */
  get resumptionPsk(): Uint8Array {
    return this.bytes(2);
  }
  /** The data of a ratchet_tree extension, for those who join without it in their Welcome. */
  ratchetTree(): Uint8Array {
    return this.bytes(3);
  }
  /** A secret of this epoch for a purpose of yours (RFC 9420 s.8.5). */
  exportSecret(label: string, context: Uint8Array, size: number): Uint8Array {
    return this.ask("groupExport", (w) => w.opaque(new TextEncoder().encode(label)).opaque(context).u32(size)).opaque();
  }
  /** A signed GroupInfo as MLSMessage; `withExternalPub` lets others join by an external commit. */
  groupInfo(options: { readonly withTree?: boolean; readonly withExternalPub?: boolean } = {}): Uint8Array {
    return this.ask("groupInfo", (w) => w.bool(options.withTree ?? true).bool(options.withExternalPub ?? false)).opaque();
  }

  /** Prepares a change. The group changes when it is merged, which is when the delivery service has accepted it. */
  commit(options: CommitOptions & { readonly leaf?: LeafChanges } = {}): PendingCommit {
    const answer = this.ask("groupCommit", (w) => {
      w.vector(options.add ?? [], (v, message) => v.opaque(message));
      w.vector(options.remove ?? [], (v, leaf) => v.u32(leaf));
      w.vector(options.psks ?? [], writePskId);
      writePsks(w, options.pskValues);
      w.optional(options.groupContextExtensions, writeExtensions);
      w.bool(options.includeCachedProposals ?? false);
      w.bool(options.forcePath ?? true);
      w.bool(options.privateMessage ?? false);
      w.bool(options.ratchetTreeInWelcome ?? true);
      w.opaque(orNone(options.authenticatedData));
      writeLeafChanges(w, options.leaf);
    });
    return readPending(this.calls, answer);
  }
  /** `mls_stale_stage` when the group has moved on since it was made. */
  merge(staged: StagedCommit): void {
    this.ask("groupMerge", (w) => w.u32(staged.handle));
    staged.forget();
  }
  /**
   * Any message of the group's: decrypts, verifies, and keeps a proposal for the next commit. Our own are `mls_own_message`. A private message opens once;
   * the last commit or proposal that opened and was then refused (the verifier did not know, a PSK was missing) can be received again all the same, until
   * the group is merged, freed or loaded anew.
   */
  receive(message: Uint8Array, psks: readonly Psk[] = []): Received {
    const answer = this.ask("groupReceive", (w) => writePsks(w.opaque(message), psks));
    switch (answer.u8()) {
      case 1: {
        const application = { kind: "application", sender: answer.u32(), data: answer.opaque(), authenticatedData: answer.opaque() } as const;
        return { ...application, epoch: answer.u64(), from: readMember(answer) };
      }
      case 2:
        return { kind: "proposal", proposal: readProposal(answer), authenticatedData: answer.opaque() };
      default: {
        const handle = answer.u32();
        const staged = new StagedCommit(this.calls, handle, readEffects(answer));
        return { kind: "commit", staged, authenticatedData: answer.opaque() };
      }
    }
  }
  /** Encrypts for the other members: a PrivateMessage. `authenticatedData` is not secret, but nobody can change it. */
  protect(data: Uint8Array, authenticatedData?: Uint8Array): Uint8Array {
    return this.ask("groupProtect", (w) => w.opaque(data).opaque(orNone(authenticatedData))).opaque();
  }
  /** A proposal for somebody's next commit. */
  propose(proposal: Proposal, options: { readonly privateMessage?: boolean; readonly authenticatedData?: Uint8Array } = {}): Uint8Array {
    return this.ask("groupPropose", (w) => {
      writeProposal(w, proposal);
      w.bool(options.privateMessage ?? false).opaque(orNone(options.authenticatedData));
    }).opaque();
  }
  /** An Update of our own leaf, for somebody's next commit (RFC 9420 s.12.1.2). */
  proposeUpdate(changes: LeafChanges = {}, options: { readonly privateMessage?: boolean; readonly authenticatedData?: Uint8Array } = {}): Uint8Array {
    return this.ask("groupProposeUpdate", (w) => {
      writeLeafChanges(w, changes);
      w.bool(options.privateMessage ?? false).opaque(orNone(options.authenticatedData));
    }).opaque();
  }
  /** A new group of some of the members, bound to this one by its resumption secret (s.11.3). `own` is our key package there. */
  branch(own: KeyPackage, options: SuccessorOptions & { readonly groupId: Uint8Array; readonly extensions?: readonly Extension[] }): Successor {
    const answer = this.ask("groupBranch", (w) => {
      w.opaque(options.groupId);
      writeExtensions(w, options.extensions);
      w.vector(options.members, (v, message) => v.opaque(message)).u32(own.handle).u32(options.padding ?? 0);
    });
    return readSuccessor(this.calls, answer);
  }
  /** The group that a committed `reinit` proposal announced (s.11.2), with all members of this one. */
  reinitialise(own: KeyPackage, options: SuccessorOptions): Successor {
    const answer = this.ask("groupReinitialise", (w) =>
      w.vector(options.members, (v, message) => v.opaque(message)).u32(own.handle).u32(options.padding ?? 0),
    );
    return readSuccessor(this.calls, answer);
  }
  /**
   * Everything, with the secrets: encrypt it where you keep it, and overwrite the state before. With `reserve` 0 store after each call that makes a
   * private message, before you send it. With a reserve of n (at most 128) n messages can be sent until it must be stored again, and the
   * group refuses more: `mls_store_first`. Either way no key is used twice, whenever the process ends.
   */
  store(reserve = 0): Uint8Array {
    return this.ask("groupStore", (w) => w.u32(reserve)).opaque();
  }
}

/** A commit that a `PublicGroup` has checked. */
export class StagedPublicCommit extends Held {
  readonly effects: CommitEffects;
  /** @internal */
  constructor(calls: Calls, handle: number, effects: CommitEffects) {
    super(calls, handle);
    this.effects = effects;
  }
}

/** Follows a group without any secret, for servers: sees who is in it, and refuses commits that break a public rule. */
export class PublicGroup extends Held {
  private state(): Context & { readonly members: Member[] } {
    const answer = this.ask("publicGroupState");
    return { ...readContext(answer), members: answer.vector(readMember) };
  }
  get suite(): CipherSuite {
    return this.state().suite;
  }
  get groupId(): Uint8Array {
    return this.state().groupId;
  }
  get epoch(): bigint {
    return this.state().epoch;
  }
  get treeHash(): Uint8Array {
    return this.state().treeHash;
  }
  members(): Member[] {
    return this.state().members;
  }
  /** A handshake message that travels in the open. */
  receive(
    message: Uint8Array,
  ): { readonly kind: "proposal"; readonly proposal: CachedProposal } | { readonly kind: "commit"; readonly staged: StagedPublicCommit } {
    const answer = this.ask("publicGroupReceive", (w) => w.opaque(message));
    if (answer.u8() === 2) return { kind: "proposal", proposal: readProposal(answer) };
    const handle = answer.u32();
    return { kind: "commit", staged: new StagedPublicCommit(this.calls, handle, readEffects(answer)) };
  }
  apply(staged: StagedPublicCommit): void {
    this.ask("publicGroupApply", (w) => w.u32(staged.handle));
    staged.forget();
  }
  store(): Uint8Array {
    return this.ask("publicGroupStore").opaque();
  }
}

/** The module, loaded. Several can live beside each other; objects of one are not for another. */
export class Mls {
  private readonly calls: Calls;
  private constructor(calls: Calls) {
    this.calls = calls;
  }

  /**
   * Loads the module: from beside this file unless told otherwise, by a URL, by its bytes or compiled. (Bundlers: pass the URL of
   * "@satsuma/mls/satsuma-mls.wasm".)
   */
  static async load(source: URL | Uint8Array<ArrayBuffer> | WebAssembly.Module = new URL("../wasm/satsuma-mls.wasm", import.meta.url)): Promise<Mls> {
    if (source instanceof WebAssembly.Module) return new Mls(await Calls.instantiate(source));
    const bytes = source instanceof URL ? await fetchBytes(source) : source;
    return new Mls(await Calls.instantiate(await WebAssembly.compile(bytes)));
  }

  /** Whom to trust, and bounds; until then there is no verifier and the limits are the defaults. What is left out goes back to its default. */
  configure(settings: MlsSettings): void {
    const limits = settings.limits ?? {};
    this.calls.call("configure", (w) => {
      w.bool(settings.credentialVerifier !== undefined).bool(settings.checkLifetimes ?? false).u64(settings.maxLifetime ?? maxUint64);
      w.u32(bound(limits.maxMembers, 16384)).u32(bound(limits.maxProposals, 16384)).u32(bound(limits.maxPendingUpdates, 16));
      w.u32(bound(limits.maxPastEpochs, 2)).u32(bound(limits.maxPastResumptionPsks, 64));
      w.u32(bound(limits.maxSkip, 1024)).u32(bound(limits.maxKept, 1024)).u32(bound(limits.maxKeptInEpoch, 16384));
    });
    const verifier = settings.credentialVerifier;
    this.calls.onCredentialQuestion(verifier === undefined ? undefined : (question) => answerQuestion(verifier, question));
  }

  /** The cipher suites that it has. */
  get suites(): CipherSuite[] {
    return this.calls.call("suites", () => undefined).vector((r) => r.u16());
  }
  /** How many keys, groups and stages are held. */
  get heldObjects(): number {
    return this.calls.handles();
  }

  generateSignatureKeys(suite: CipherSuite): SignatureKeys {
    return this.importSignatureKeys(suite, new Uint8Array());
  }
  /** From what `exportPrivateKey` gave. */
  importSignatureKeys(suite: CipherSuite, privateKey: Uint8Array): SignatureKeys {
    const answer = this.calls.call("signatureKeys", (w) => w.u16(suite).opaque(privateKey));
    return new SignatureKeys(this.calls, answer.u32(), suite, answer.opaque());
  }

  generateKeyPackage(keys: SignatureKeys, options: KeyPackageOptions): KeyPackage {
    const answer = this.calls.call("keyPackageGenerate", (w) => {
      writeCredential(w.u32(keys.handle), options.credential);
      w.u64(options.notBefore ?? 0n).u64(options.notAfter ?? maxUint64);
      writeExtensions(w, options.leafExtensions);
      writeExtensions(w, options.extensions);
      w.bool(options.lastResort ?? false);
    });
    return new KeyPackage(this.calls, answer.u32(), answer.opaque());
  }
  loadKeyPackage(stored: Uint8Array): KeyPackage {
    const answer = this.calls.call("keyPackageLoad", (w) => w.opaque(stored));
    return new KeyPackage(this.calls, answer.u32(), answer.opaque());
  }
  /** Checks an MLSMessage with somebody's key package (RFC 9420 s.10.1), its lifetime too where `now` (seconds since 1970) is given. */
  verifyKeyPackage(message: Uint8Array, now = 0n): VerifiedKeyPackage {
    const answer = this.calls.call("keyPackageVerify", (w) => w.opaque(message).u64(now));
    return {
      suite: answer.u16(),
      signatureKey: answer.opaque(),
      credential: readCredential(answer),
      notBefore: answer.u64(),
      notAfter: answer.u64(),
      extensions: readExtensions(answer),
    };
  }

  /** A group of one. */
  createGroup(creator: KeyPackage, options: { readonly groupId: Uint8Array; readonly extensions?: readonly Extension[]; readonly padding?: number }): Group {
    const answer = this.calls.call("groupCreate", (w) => {
      w.u32(creator.handle).opaque(options.groupId);
      writeExtensions(w, options.extensions);
      w.u32(options.padding ?? 0);
    });
    return new Group(this.calls, answer.u32());
  }
  /** By a Welcome (an MLSMessage) for this key package. */
  joinGroup(welcome: Uint8Array, keyPackage: KeyPackage, options: JoinOptions & { readonly predecessor?: Group } = {}): Group {
    const answer = this.calls.call("groupJoin", (w) => {
      w.opaque(welcome).u32(keyPackage.handle);
      w.optional(options.ratchetTree, (v, tree) => v.opaque(tree));
      writePsks(w, options.psks);
      w.u32(options.padding ?? 0);
      w.optional(options.predecessor, (v, group) => v.u32(group.handle));
    });
    return new Group(this.calls, answer.u32());
  }
  /** Enters without being asked in (RFC 9420 s.12.4.3.2), by a GroupInfo that allows it: `groupInfo({ withExternalPub: true })`. */
  joinExternally(groupInfo: Uint8Array, own: KeyPackage, options: ExternalJoinOptions = {}): ExternalJoin {
    const answer = this.calls.call("groupJoinExternal", (w) => {
      w.opaque(groupInfo).u32(own.handle);
      w.optional(options.ratchetTree, (v, tree) => v.opaque(tree));
      w.optional(options.resync, (v, leaf) => v.u32(leaf));
      w.vector(options.pskIds ?? [], writePskId);
      writePsks(w, options.psks);
      w.opaque(orNone(options.authenticatedData)).u32(options.padding ?? 0);
    });
    return new ExternalJoin(this.calls, answer.u32(), answer.opaque());
  }
  /** A proposal of the sender at `senderIndex` of the group's external_senders extension (s.12.1.8). */
  proposeFromOutside(group: GroupReference, senderIndex: number, keys: SignatureKeys, proposal: Proposal): Uint8Array {
    const answer = this.calls.call("proposeFromOutside", (w) => {
      writeReference(w, group);
      writeProposal(w.u32(senderIndex).u32(keys.handle), proposal);
    });
    return answer.opaque();
  }
  /** The wish to be added with a key package of ours (s.12.1.8). */
  proposeOneself(group: GroupReference, own: KeyPackage): Uint8Array {
    const answer = this.calls.call("proposeOneself", (w) => {
      writeReference(w, group);
      w.u32(own.handle);
    });
    return answer.opaque();
  }
  /** From what `Group.store` gave. Errors begin with `mls_stored_`, or name the part that is wrong. */
  loadGroup(stored: Uint8Array): Group {
    return new Group(this.calls, this.calls.call("groupLoad", (w) => w.opaque(stored)).u32());
  }
  loadPendingCommit(stored: Uint8Array): PendingCommit {
    return readPending(this.calls, this.calls.call("pendingLoad", (w) => w.opaque(stored)));
  }

  /** From a GroupInfo (an MLSMessage) with the tree in it. */
  followGroup(groupInfo: Uint8Array): PublicGroup {
    return new PublicGroup(this.calls, this.calls.call("publicGroupNew", (w) => w.opaque(groupInfo)).u32());
  }
  loadPublicGroup(stored: Uint8Array): PublicGroup {
    return new PublicGroup(this.calls, this.calls.call("publicGroupLoad", (w) => w.opaque(stored)).u32());
  }
}

function bound(value: number | undefined, otherwise: number): number {
  const given = value ?? otherwise;
  if (!Number.isInteger(given) || given < 0 || given > 0xffffffff) throw new RangeError(`a limit of ${given}`);
  return given;
}

function sameCredential(a: Credential, b: Credential): boolean {
  const encoded = [a, b].map((credential) => {
    const writer = new Writer();
    writeCredential(writer, credential);
    return writer.view();
  });
  return encoded[0]?.length === encoded[1]?.length && (encoded[0]?.every((byte, i) => byte === encoded[1]?.[i]) ?? false);
}

function answerQuestion(verifier: CredentialVerifier, question: Reader): boolean {
  const kind = question.u8();
  const first = readCredential(question);
  if (kind === 0) return verifier.verify(first, question.opaque());
  const second = readCredential(question);
  const same = (): boolean => verifier.sameClient?.(first, second) ?? sameCredential(first, second);
  return kind === 1 ? (verifier.verifySuccessor?.(first, second) ?? same()) : same();
}

function writeReference(out: Writer, group: GroupReference): void {
  out.u16(group.suite).opaque(group.groupId).u64(group.epoch).opaque(orNone(group.authenticatedData));
}

async function fetchBytes(url: URL): Promise<BufferSource> {
  if (url.protocol === "file:") {
    const { readFile } = await import("node:fs/promises");
    return new Uint8Array(await readFile(url));
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the MLS module did not load (${response.status})`);
  return response.arrayBuffer();
}
