import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { cipherSuites, Mls, MlsError, type Group, type KeyPackage, type Received } from "../src/index.ts";

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
  assert.ok([1, 2, 3, 5, 7].every((suite) => mls.suites.includes(suite)));
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
