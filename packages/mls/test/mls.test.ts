import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { cipherSuites, Mls, MlsError, type Credential, type Group, type KeyPackage, type Received } from "../src/index.ts";

const compiled = await readFile(new URL("../../wasm/satsuma-mls.wasm", import.meta.url)).catch(() => null);
const skip = compiled === null ? "the module is not built" : false;
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const read = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const load = (): Promise<Mls> => Mls.load(new Uint8Array(compiled ?? []));

function person(mls: Mls, name: string, suite: number = cipherSuites.x25519ChaCha20Poly1305Sha256Ed25519): KeyPackage {
  return mls.generateKeyPackage(mls.generateSignatureKeys(suite), { credential: { type: "basic", identity: text(name) } });
}
function mergeReceived(group: Group, received: Received): void {
  assert.ok(received.kind === "commit");
  group.merge(received.staged);
}
function fails(code: string, action: () => unknown): void {
  assert.throws(action, (error) => error instanceof MlsError && error.code === code);
}

/** Ada with Bo. */
function two(mls: Mls, suite?: number): { ada: Group; bo: Group } {
  const ada = mls.createGroup(person(mls, "Ada", suite), { groupId: text("g"), padding: 32 });
  const invited = person(mls, "Bo", suite);
  const pending = ada.commit({ add: [invited.message] });
  assert.ok(pending.welcome !== undefined);
  const bo = mls.joinGroup(pending.welcome, invited);
  ada.merge(pending);
  return { ada, bo };
}

test("two people agree and talk, in every suite", { skip }, async () => {
  const mls = await load();
  assert.ok([1, 2, 3, 5, 7, cipherSuites.mlKem768X25519ChaCha20Poly1305Sha256Ed25519].every((suite) => mls.suites.includes(suite)));
  for (const suite of mls.suites) {
    const { ada, bo } = two(mls, suite);
    assert.equal(ada.suite, suite);
    assert.equal(bo.epoch, 1n);
    assert.deepEqual(ada.epochAuthenticator, bo.epochAuthenticator);
    assert.deepEqual(ada.exportSecret("label", text("context"), 32), bo.exportSecret("label", text("context"), 32));
    assert.deepEqual(
      bo.members().map(({ credential }) => (credential.type === "basic" ? read(credential.identity) : "")),
      ["Ada", "Bo"],
    );
    const received = bo.receive(ada.protect(text("hello"), text("seen")));
    assert.ok(received.kind === "application");
    assert.equal(read(received.data), "hello");
    assert.equal(read(received.authenticatedData), "seen");
    assert.equal(received.sender, ada.ownLeaf);
  }
});

test("commits, proposals and removals keep the members and a follower together", { skip }, async () => {
  const mls = await load();
  const { ada, bo } = two(mls);
  const follower = mls.followGroup(ada.groupInfo());
  const deliver = (committer: Group, others: readonly Group[], pending: ReturnType<Group["commit"]>): void => {
    const followed = follower.receive(pending.commit);
    assert.ok(followed.kind === "commit");
    follower.apply(followed.staged);
    for (const other of others) mergeReceived(other, other.receive(pending.commit));
    committer.merge(pending);
    assert.deepEqual(follower.treeHash, committer.treeHash);
  };
  const invited = person(mls, "Cy");
  assert.equal(read((mls.verifyKeyPackage(invited.message).credential as { identity: Uint8Array }).identity), "Cy");
  const proposal = bo.propose({ type: "add", keyPackage: invited.message });
  const cached = ada.receive(proposal);
  assert.ok(cached.kind === "proposal");
  assert.deepEqual(cached.proposal, { senderType: "member", sender: bo.ownLeaf, proposalType: 1 });
  assert.equal(follower.receive(proposal).kind, "proposal");

  const adding = ada.commit({ includeCachedProposals: true, ratchetTreeInWelcome: false });
  assert.equal(adding.effects.added.length, 1);
  assert.equal(adding.effects.committer, ada.ownLeaf);
  deliver(ada, [bo], adding);
  assert.ok(adding.welcome !== undefined);
  fails("mls_ratchet_tree_missing", () => mls.joinGroup(adding.welcome ?? text(""), invited));
  const cy = mls.joinGroup(adding.welcome, invited, { ratchetTree: ada.ratchetTree() });
  assert.deepEqual(cy.epochAuthenticator, bo.epochAuthenticator);

  const psk = { type: "external", id: text("shared"), secret: text("a secret") } as const;
  const withPsk = cy.commit({ psks: [psk], pskValues: [psk] });
  fails("mls_psk_unknown", () => bo.receive(withPsk.commit));
  const staged = [ada, bo].map((group) => group.receive(withPsk.commit, [psk]));
  [ada, bo].forEach((group, i) => mergeReceived(group, staged[i] as Received));
  const followed = follower.receive(withPsk.commit);
  assert.ok(followed.kind === "commit");
  follower.apply(followed.staged);
  cy.merge(withPsk);
  assert.deepEqual(cy.epochAuthenticator, bo.epochAuthenticator);

  const removing = cy.commit({ remove: [bo.ownLeaf] });
  deliver(cy, [ada, bo], removing);
  assert.equal(bo.active, false);
  fails("mls_group_inactive", () => bo.protect(text("x")));
  assert.equal(follower.members().length, 2);
  const restarted = mls.loadPublicGroup(follower.store());
  assert.deepEqual(restarted.treeHash, follower.treeHash);
});

test("what is stored continues where it was, and nothing is sent twice", { skip }, async () => {
  const mls = await load();
  const { ada, bo } = two(mls);
  const stored = ada.store(2);
  const messages = [ada.protect(text("1")), ada.protect(text("2"))];
  fails("mls_store_first", () => ada.protect(text("3")));
  const restarted = mls.loadGroup(stored);
  fails("mls_store_first", () => restarted.protect(text("3")));
  restarted.store();
  messages.push(restarted.protect(text("3")));
  assert.deepEqual(
    messages.map((message) => {
      const received = bo.receive(message);
      return received.kind === "application" ? read(received.data) : "";
    }),
    ["1", "2", "3"],
  );
  fails("mls_generation_consumed", () => bo.receive(messages[1] as Uint8Array));

  const pending = mls.loadPendingCommit(restarted.commit().store());
  mergeReceived(bo, bo.receive(pending.commit));
  const after = mls.loadGroup(restarted.store());
  after.merge(pending);
  assert.deepEqual(after.epochAuthenticator, bo.epochAuthenticator);

  const invited = mls.loadKeyPackage(person(mls, "Cy").store());
  const adding = after.commit({ add: [invited.message] });
  assert.ok(adding.welcome !== undefined);
  assert.equal(mls.joinGroup(adding.welcome, invited).epoch, 3n);
  const damaged = after.store();
  damaged[20] = (damaged[20] as number) ^ 1;
  fails("mls_stored_damaged", () => mls.loadGroup(damaged));
  const keys = mls.generateSignatureKeys(2);
  assert.deepEqual(mls.importSignatureKeys(2, keys.exportPrivateKey()).publicKey, keys.publicKey);
});

test("what is refused is named and changes nothing", { skip }, async () => {
  const mls = await load();
  const { ada, bo } = two(mls);
  const before = bo.store();
  const commit = ada.commit();
  const flipped = commit.commit.slice();
  flipped[flipped.length - 1] = (flipped.at(-1) as number) ^ 1;
  fails("mls_membership_tag_mismatch", () => bo.receive(flipped));
  fails("bytes_truncated", () => bo.receive(commit.commit.subarray(0, 40)));
  fails("mls_own_message", () => ada.receive(commit.commit));
  fails("mls_suite_unsupported", () => mls.generateSignatureKeys(999));
  fails("mls_cannot_remove_self", () => ada.commit({ remove: [ada.ownLeaf] }));
  fails("mls_stored_kind_wrong", () => mls.loadKeyPackage(before));
  assert.deepEqual(bo.store(), before);
});

test("updates, entering from outside, branches and successors are here too", { skip }, async () => {
  const mls = await load();
  const { ada, bo } = two(mls);
  const all = [ada, bo];
  const commit = (committer: Group, options: Parameters<Group["commit"]>[0]): void => {
    const pending = committer.commit(options);
    for (const group of all) if (group !== committer) mergeReceived(group, group.receive(pending.commit));
    committer.merge(pending);
    for (const group of all) assert.deepEqual(group.epochAuthenticator, ada.epochAuthenticator);
  };
  const keys = mls.generateSignatureKeys(3);
  assert.equal(ada.receive(bo.proposeUpdate({ signatureKeys: keys })).kind, "proposal");
  commit(ada, { includeCachedProposals: true });
  assert.deepEqual(ada.members()[bo.ownLeaf]?.signatureKey, keys.publicKey);
  commit(ada, { leaf: { credential: { type: "basic", identity: text("Ada") } } });
  fails("mls_credential_rejected", () => ada.commit({ leaf: { credential: { type: "basic", identity: text("Eve") } } }));

  const join = mls.joinExternally(ada.groupInfo({ withExternalPub: true }), person(mls, "Cy"));
  for (const group of all) mergeReceived(group, group.receive(join.commit));
  const cy = join.merge();
  all.push(cy);
  assert.deepEqual(cy.epochAuthenticator, ada.epochAuthenticator);

  const dee = person(mls, "Dee");
  const wish = mls.proposeOneself({ suite: 3, groupId: ada.groupId, epoch: ada.epoch }, dee);
  for (const group of all) {
    const received = group.receive(wish);
    assert.ok(received.kind === "proposal" && received.proposal.senderType === "newMember");
  }
  const adding = ada.commit({ includeCachedProposals: true });
  for (const group of [bo, cy]) mergeReceived(group, group.receive(adding.commit));
  ada.merge(adding);
  assert.ok(adding.welcome !== undefined);
  all.push(mls.joinGroup(adding.welcome, dee));
  commit(cy, {});

  const bosPackage = person(mls, "Bo");
  const branch = ada.branch(person(mls, "Ada"), { groupId: text("two of us"), members: [bosPackage.message] });
  assert.ok(branch.welcome !== undefined);
  const bosBranch = mls.joinGroup(branch.welcome, bosPackage, { predecessor: bo });
  assert.deepEqual(bosBranch.epochAuthenticator, branch.group.epochAuthenticator);

  ada.propose({ type: "reinit", groupId: text("next"), suite: 1 });
  const last = ada.commit({ includeCachedProposals: true });
  assert.equal(last.effects.reinitialises, true);
  ada.merge(last);
  assert.equal(ada.active, false);
  fails("mls_succession_invalid", () => ada.reinitialise(person(mls, "Ada", 1), { members: [] }));
});

test("the caller's verifier is asked whenever somebody comes in or changes", { skip }, async () => {
  const mls = await load();
  const asked: string[] = [];
  const known = new Set(["Ada", "Bo"]);
  const nameOf = (credential: Credential): string => (credential.type === "basic" ? read(credential.identity) : "a certificate");
  mls.configure({
    credentialVerifier: {
      verify: (credential, signatureKey) => {
        assert.equal(signatureKey.length, 32);
        asked.push(nameOf(credential));
        return known.has(nameOf(credential));
      },
    },
  });
  const { ada, bo } = two(mls);
  assert.ok(asked.includes("Bo") && asked.includes("Ada")); // by Ada's commit, and by Bo's joining
  const eve = person(mls, "Eve");
  fails("mls_credential_rejected", () => ada.commit({ add: [eve.message] }));
  known.add("Eve");
  const adding = ada.commit({ add: [eve.message] });
  known.delete("Eve");
  fails("mls_credential_rejected", () => bo.receive(adding.commit));
  fails("mls_credential_rejected", () => mls.joinGroup(adding.welcome ?? text(""), eve));
  const entering = mls.joinExternally(ada.groupInfo({ withExternalPub: true }), eve); // Eve trusts those inside
  fails("mls_credential_rejected", () => bo.receive(entering.commit));

  // A new credential in the place of the old one: the verifier's word, or else the same bytes.
  const renamed = { leaf: { credential: { type: "basic", identity: text("Bo") } } } as const;
  fails("mls_credential_rejected", () => ada.commit(renamed));
  mls.configure({ credentialVerifier: { verify: () => true, verifySuccessor: (before, after) => nameOf(before) === "Ada" && nameOf(after) === "Bo" } });
  ada.commit(renamed).free();
  fails("mls_credential_rejected", () => ada.commit({ leaf: { credential: { type: "basic", identity: text("Eve") } } }));
  mls.configure({ credentialVerifier: { verify: () => true, sameClient: () => true } });
  ada.commit({ leaf: { credential: { type: "basic", identity: text("Eve") } } }).free();

  // Certificates are refused where nobody looks at them. Everyone must support them: so in a group of one kind.
  mls.configure({});
  const certified = (): KeyPackage =>
    mls.generateKeyPackage(mls.generateSignatureKeys(3), { credential: { type: "x509", certificates: [text("of a kind")] } });
  const group = mls.createGroup(certified(), { groupId: text("certified") });
  fails("mls_credential_unverified", () => group.commit({ add: [certified().message] }));
  mls.configure({ credentialVerifier: { verify: ({ type }) => type === "x509" } });
  assert.equal(group.commit({ add: [certified().message] }).effects.added[0]?.credential.type, "x509");

  // What it throws comes out, and the module goes on.
  mls.configure({ credentialVerifier: { verify: () => { throw new TypeError("no directory"); } } });
  assert.throws(() => ada.commit({ add: [eve.message] }), /no directory/);
  mls.configure({ credentialVerifier: { verify: () => ada.epoch > 0n } });
  assert.throws(() => ada.commit({ add: [eve.message] }), /within a credential verifier/);
  mls.configure({});
  const pending = ada.commit({ add: [eve.message] });
  mergeReceived(bo, bo.receive(pending.commit));
  ada.merge(pending);
  assert.deepEqual(ada.epochAuthenticator, bo.epochAuthenticator);
});

test("a verifier that fails, frees or calls does no harm", { skip }, async () => {
  const mls = await load();
  const { ada, bo } = two(mls);
  const eve = person(mls, "Eve");
  const failing = (): never => {
    throw new TypeError("no directory");
  };

  // A private commit whose verifier failed is received again.
  const closed = ada.commit({ add: [eve.message], privateMessage: true });
  mls.configure({ credentialVerifier: { verify: failing } });
  const held = mls.heldObjects;
  assert.throws(() => bo.receive(closed.commit), /no directory/);
  assert.throws(() => bo.receive(closed.commit), /no directory/);
  mls.configure({ credentialVerifier: { verify: () => true } });
  const received = bo.receive(closed.commit);
  fails("mls_generation_consumed", () => bo.receive(closed.commit));
  assert.ok(received.kind === "commit");
  received.staged.free();
  closed.free();

  // A commit would leave out the Add that was not approved: with a verifier that failed there is none.
  ada.receive(bo.propose({ type: "add", keyPackage: eve.message }));
  const isEve = (credential: Credential): boolean => credential.type === "basic" && read(credential.identity) === "Eve";
  mls.configure({ credentialVerifier: { verify: (credential) => (isEve(credential) ? failing() : true) } });
  assert.throws(() => ada.commit({ includeCachedProposals: true }), /no directory/);
  assert.equal(mls.heldObjects, held - 1);

  // What is freed meanwhile goes when the call is over.
  let during = 0;
  mls.configure({
    credentialVerifier: {
      verify: () => {
        ada.free();
        during = mls.heldObjects;
        return true;
      },
    },
  });
  const last = ada.commit({ add: [person(mls, "Fay").message] });
  assert.equal(during, held + 1); // Fay's two, and the private commit is gone
  assert.equal(mls.heldObjects, held + 1); // without Ada, with the commit
  assert.throws(() => ada.epoch, /freed or merged/);
  last.free();

  // The module itself refuses to be called then.
  const { functions, memory } = mls["calls"] as unknown as { functions: { satsuma_mls_call: (...values: number[]) => number }; memory: WebAssembly.Memory };
  const answers: string[] = [];
  mls.configure({
    credentialVerifier: {
      verify: () => {
        const answer = functions.satsuma_mls_call(0, 0, 0) >>> 0;
        const size = new DataView(memory.buffer).getUint32(answer + 4, true);
        answers.push(read(new Uint8Array(memory.buffer, answer + 9, size - 1)));
        return true;
      },
    },
  });
  bo.commit({ add: [person(mls, "Gus").message] }).free();
  assert.ok(answers.length > 0 && answers.every((answer) => answer === "called_by_verifier"), answers.join());
});

test("lifetimes and limits are kept to", { skip }, async () => {
  const mls = await load();
  const now = BigInt(Math.floor(Date.now() / 1000));
  const lasting = (notBefore: bigint, notAfter: bigint): Uint8Array =>
    mls.generateKeyPackage(mls.generateSignatureKeys(3), { credential: { type: "basic", identity: text("x") }, notBefore, notAfter }).message;
  const over = lasting(now - 2000n, now - 1000n);
  two(mls).ada.commit({ add: [over] }).free();
  mls.configure({ checkLifetimes: true });
  const { ada } = two(mls);
  fails("mls_lifetime_over", () => ada.commit({ add: [over] }));
  ada.commit({ add: [lasting(now - 1000n, now + 1000n)] }).free();
  mls.configure({ maxLifetime: 100n });
  fails("mls_lifetime_too_long", () => ada.commit({ add: [lasting(now - 1000n, now + 1000n)] }));

  mls.configure({ limits: { maxMembers: 2, maxPastEpochs: 1, maxSkip: 3 } });
  const small = two(mls);
  fails("mls_too_many_members", () => small.ada.commit({ add: [person(mls, "Cy").message] }));
  const messages = [1, 2, 3, 4, 5].map((n) => small.ada.protect(text(String(n))));
  fails("mls_generation_too_far", () => small.bo.receive(messages[4] ?? text("")));
  const turn = (): void => {
    const pending = small.ada.commit();
    mergeReceived(small.bo, small.bo.receive(pending.commit));
    small.ada.merge(pending);
  };
  turn();
  const late = small.bo.receive(messages[0] ?? text(""));
  assert.ok(late.kind === "application");
  assert.equal(late.epoch, small.bo.epoch - 1n);
  assert.equal(late.from.leaf, small.ada.ownLeaf);
  assert.ok(late.from.credential.type === "basic" && read(late.from.credential.identity) === "Ada");
  turn();
  fails("mls_epoch_mismatch", () => small.bo.receive(messages[1] ?? text("")));
  mls.configure({});
  assert.throws(() => mls.configure({ limits: { maxMembers: -1 } }), RangeError);
  fails("request_malformed", () => mls.configure({ limits: { maxPastEpochs: 16 } }));
});

test("what means nothing is sent and tolerated", { skip }, async () => {
  const mls = await load();
  const { message } = person(mls, "Ada");
  // GREASE, RFC 9420 s.13.5: 0x0A0A, 0x1A1A and so on, here among the key package's extensions.
  const meaningless = (type: number): boolean => (type & 0x0f0f) === 0x0a0a && type >> 8 === (type & 0xff);
  assert.ok(mls.verifyKeyPackage(message).extensions.some(({ type }) => meaningless(type)));
  two(mls).ada.commit({ add: [message] }).free();
});

test("objects are released, by name and once merged", { skip }, async () => {
  const mls = await load();
  assert.equal(mls.heldObjects, 0);
  const { ada, bo } = two(mls);
  const held = mls.heldObjects;
  const pending = ada.commit();
  assert.equal(mls.heldObjects, held + 1);
  mergeReceived(bo, bo.receive(pending.commit));
  ada.merge(pending);
  assert.equal(mls.heldObjects, held);
  assert.throws(() => ada.merge(pending), /freed or merged/);
  bo.free();
  assert.equal(mls.heldObjects, held - 1);
  assert.throws(() => bo.epoch, /freed or merged/);
});

test("the package as it is published works by its name", { skip }, async () => {
  const { execFile } = await import("node:child_process");
  const { promisify } = await import("node:util");
  const { mkdtemp, mkdir, rm, writeFile } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const { join } = await import("node:path");
  const { fileURLToPath } = await import("node:url");
  const run = promisify(execFile);
  const folder = await mkdtemp(join(tmpdir(), "satsuma-mls-"));
  try {
    const package_ = fileURLToPath(new URL("../..", import.meta.url));
    const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: package_ });
    const packed: unknown = JSON.parse(stdout);
    const file = (packed as readonly { readonly filename: string }[])[0]?.filename;
    assert.ok(file !== undefined);
    const installed = join(folder, "node_modules/@satsuma/mls");
    await mkdir(installed, { recursive: true });
    await run("tar", ["-xzf", join(folder, file.replace("@", "").replace("/", "-")), "--strip-components=1", "-C", installed]);
    await writeFile(join(folder, "use.mjs"), 'import { Mls } from "@satsuma/mls"; console.log((await Mls.load()).suites.includes(3));');
    assert.equal((await run("node", [join(folder, "use.mjs")])).stdout.trim(), "true");
  } finally {
    await rm(folder, { recursive: true });
  }
});
