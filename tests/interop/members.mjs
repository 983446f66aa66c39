// A member of a group, by our library or by ts-mls, behind the same few functions. Everything between them is bytes of MLSMessages.
import { webcrypto } from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';
import {
  acceptAll, createApplicationMessage, createCommit, createGroup, createProposal, decodeMlsMessage, defaultCapabilities, encodeMlsMessage,
  generateKeyPackageWithKey, getCiphersuiteFromName, getCiphersuiteImpl, joinGroup, makePskIndex, mlsExporter, processPrivateMessage, processPublicMessage,
} from 'ts-mls';

if (globalThis.crypto === undefined) globalThis.crypto = webcrypto;

const suiteNames = {
  1: 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519',
  2: 'MLS_128_DHKEMP256_AES128GCM_SHA256_P256',
  3: 'MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519',
};
const bytes = (text) => new TextEncoder().encode(text);
const day = 86400n;
const now = () => BigInt(Math.floor(Date.now() / 1000));

/** External PSKs that everybody knows. */
export const psks = { shared: bytes('a secret that all of them know'), other: bytes('another one') };

/** A proposal is { add: key package message } | { remove: leaf } | { psk: name } | { update: true }, which ts-mls cannot make. */

export class Ours {
  static async library(mls, suite) {
    return new OursLibrary(mls, suite);
  }
  constructor(library, group) {
    this.kind = 'satsuma';
    this.library = library;
    this.group = group;
  }
  get leaf() { return this.group.ownLeaf; }
  get epoch() { return this.group.epoch; }
  get active() { return this.group.active; }
  authenticator() { return this.group.epochAuthenticator; }
  treeHash() { return this.group.treeHash; }
  async exporter(label, context, size) { return this.group.exportSecret(label, context, size); }
  async protect(data, authenticatedData) { return this.group.protect(data, authenticatedData); }
  async commit({ proposals = [], privateMessage = false, treeInWelcome = true, cached = false }) {
    const ids = proposals.filter((p) => p.psk !== undefined).map((p) => ({ type: 'external', id: bytes(p.psk) }));
    const pending = this.group.commit({
      add: proposals.filter((p) => p.add !== undefined).map((p) => p.add),
      remove: proposals.filter((p) => p.remove !== undefined).map((p) => p.remove),
      psks: ids,
      pskValues: this.library.psks,
      includeCachedProposals: cached,
      privateMessage,
      ratchetTreeInWelcome: treeInWelcome,
    });
    return { commit: pending.commit, welcome: pending.welcome, merge: () => this.group.merge(pending) };
  }
  async propose(proposal, privateMessage) {
    if (proposal.update) return this.group.proposeUpdate({}, { privateMessage });
    const made = proposal.add !== undefined ? { type: 'add', keyPackage: proposal.add }
      : proposal.remove !== undefined ? { type: 'remove', leaf: proposal.remove }
      : { type: 'psk', id: { type: 'external', id: bytes(proposal.psk) } };
    return this.group.propose(made, { privateMessage });
  }
  /** The data of an application message; null for others, which are applied. */
  async receive(message) {
    const received = this.group.receive(message, this.library.psks);
    if (received.kind === 'application') return received.data;
    if (received.kind === 'commit') this.group.merge(received.staged);
    return null;
  }
  ratchetTree() { return this.group.ratchetTree(); }
  leavesOf(names) {
    const identities = names.map((name) => Buffer.from(name).toString('hex'));
    return this.group.members().filter(({ credential }) => identities.includes(Buffer.from(credential.identity).toString('hex'))).map(({ leaf }) => leaf);
  }
  restart() {
    const stored = this.group.store();
    this.group.free();
    this.group = this.library.mls.loadGroup(stored);
  }
}

class OursLibrary {
  constructor(mls, suite) {
    this.mls = mls;
    this.suite = suite;
    this.psks = Object.entries(psks).map(([name, secret]) => ({ type: 'external', id: bytes(name), secret }));
  }
  async person(name) {
    const keys = this.mls.generateSignatureKeys(this.suite);
    const bundle = this.mls.generateKeyPackage(keys, { credential: { type: 'basic', identity: bytes(name) }, notBefore: now() - day, notAfter: now() + 14n * day });
    return { message: bundle.message, bundle };
  }
  async create(person, groupId) {
    return new Ours(this, this.mls.createGroup(person.bundle, { groupId, padding: 32 }));
  }
  async join(person, welcome, ratchetTree) {
    return new Ours(this, this.mls.joinGroup(welcome, person.bundle, { psks: this.psks, padding: 32, ...(ratchetTree ? { ratchetTree } : {}) }));
  }
}

function decode(message, wireformat) {
  const decoded = decodeMlsMessage(message, 0);
  if (decoded === undefined || decoded[1] !== message.length) throw new Error('ts-mls cannot read the message');
  if (wireformat !== undefined && decoded[0].wireformat !== wireformat) throw new Error(`a ${decoded[0].wireformat}`);
  return decoded[0];
}

/** With a state: its group's resumption secrets too. */
function pskIndex(state) {
  return makePskIndex(state, Object.fromEntries(Object.entries(psks).map(([name, secret]) => [Buffer.from(name).toString('base64'), secret])));
}

export class Theirs {
  static async library(suite) {
    return new TheirsLibrary(suite, await getCiphersuiteImpl(getCiphersuiteFromName(suiteNames[suite])));
  }
  constructor(library, state) {
    this.kind = 'ts-mls';
    this.library = library;
    this.state = state;
  }
  get leaf() { return this.state.privatePath.leafIndex; }
  get epoch() { return this.state.groupContext.epoch; }
  get active() { return this.state.groupActiveState.kind === 'active'; }
  authenticator() { return this.state.keySchedule.epochAuthenticator; }
  treeHash() { return this.state.groupContext.treeHash; }
  exporter(label, context, size) { return mlsExporter(this.state.keySchedule.exporterSecret, label, context, size, this.library.impl); }
  async protect(data, authenticatedData) {
    const made = await createApplicationMessage(this.state, data, this.library.impl, authenticatedData);
    this.state = made.newState;
    return encodeMlsMessage({ privateMessage: made.privateMessage, wireformat: 'mls_private_message', version: 'mls10' });
  }
  proposal(p) {
    if (p.add !== undefined) return { proposalType: 'add', add: { keyPackage: decode(p.add, 'mls_key_package').keyPackage } };
    if (p.remove !== undefined) return { proposalType: 'remove', remove: { removed: p.remove } };
    return {
      proposalType: 'psk',
      psk: { preSharedKeyId: { psktype: 'external', pskId: bytes(p.psk), pskNonce: webcrypto.getRandomValues(new Uint8Array(this.library.impl.kdf.size)) } },
    };
  }
  async commit({ proposals = [], privateMessage = false, treeInWelcome = true }) {
    const made = await createCommit({ state: this.state, cipherSuite: this.library.impl, pskIndex: pskIndex(this.state) }, {
      wireAsPublicMessage: !privateMessage,
      extraProposals: proposals.map((p) => this.proposal(p)),
      ratchetTreeExtension: treeInWelcome,
    });
    return {
      commit: encodeMlsMessage(made.commit),
      welcome: made.welcome && encodeMlsMessage({ welcome: made.welcome, wireformat: 'mls_welcome', version: 'mls10' }),
      merge: () => { this.state = made.newState; },
    };
  }
  async propose(p, privateMessage) {
    const made = await createProposal(this.state, !privateMessage, this.proposal(p), this.library.impl);
    this.state = made.newState;
    return encodeMlsMessage(made.message);
  }
  async receive(message) {
    const decoded = decode(message); // its processMessage forgets the PSKs of a PrivateMessage, in 1.6.4
    const done = decoded.wireformat === 'mls_public_message'
      ? await processPublicMessage(this.state, decoded.publicMessage, pskIndex(this.state), this.library.impl, acceptAll)
      : await processPrivateMessage(this.state, decoded.privateMessage, pskIndex(this.state), this.library.impl, acceptAll);
    this.state = done.newState;
    return done.kind === 'applicationMessage' ? done.message : null;
  }
  ratchetTree() { return null; } // taken from one of ours
  restart() {}
}

class TheirsLibrary {
  constructor(suite, impl) {
    this.suite = suite;
    this.impl = impl;
  }
  async person(name) {
    const keys = await this.impl.signature.keygen();
    // ts-mls 1.6.4 writes P-256 signature keys compressed; RFC 9420 s.5.1.1 has them uncompressed, which it reads as well.
    if (this.suite === 2) keys.publicKey = p256.getPublicKey(keys.signKey, false);
    const made = await generateKeyPackageWithKey({ credentialType: 'basic', identity: bytes(name) }, defaultCapabilities(),
      { notBefore: now() - day, notAfter: now() + 14n * day }, [], keys, this.impl);
    return { message: encodeMlsMessage({ keyPackage: made.publicPackage, wireformat: 'mls_key_package', version: 'mls10' }), ...made };
  }
  async create(person, groupId) {
    return new Theirs(this, await createGroup(groupId, person.publicPackage, person.privatePackage, [], this.impl));
  }
  async join(person, welcome) {
    const { welcome: decoded } = decode(welcome, 'mls_welcome');
    return new Theirs(this, await joinGroup(decoded, person.publicPackage, person.privatePackage, pskIndex(undefined), this.impl));
  }
}
