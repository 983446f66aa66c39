/** Types of this package to and from requests and answers. */
import type { CommitEffects, Credential, Extension, Member, Psk, PskId } from "./types.ts";
import type { Reader, Writer } from "./wire.ts";

const none = new Uint8Array();

export function writeCredential(out: Writer, credential: Credential): void {
  if (credential.type === "basic") out.u16(1).opaque(credential.identity);
  else out.u16(2).vector(credential.certificates, (w, certificate) => w.opaque(certificate));
}

export function readCredential(from: Reader): Credential {
  if (from.u16() === 1) return { type: "basic", identity: from.opaque() };
  return { type: "x509", certificates: from.vector((r) => r.opaque()) };
}

export function writeExtensions(out: Writer, extensions: readonly Extension[] = []): void {
  out.vector(extensions, (w, { type, data }) => w.u16(type).opaque(data));
}

export function readExtensions(from: Reader): Extension[] {
  return from.vector((r) => ({ type: r.u16(), data: r.opaque() }));
}

export function writePskId(out: Writer, id: PskId): void {
  if (id.type === "external") out.u8(1).opaque(id.id);
  else out.u8(2).opaque(id.groupId).u64(id.epoch);
}

export function writePsks(out: Writer, psks: readonly Psk[] = []): void {
  out.vector(psks, (w, psk) => {
    writePskId(w, psk);
    w.opaque(psk.secret);
  });
}

export function readMember(from: Reader): Member {
  return { leaf: from.u32(), signatureKey: from.opaque(), credential: readCredential(from) };
}

export function readEffects(from: Reader): CommitEffects {
  return {
    nextEpoch: from.u64(),
    removesSelf: from.bool(),
    committer: from.optional((r) => r.u32()),
    externalJoiner: from.optional((r) => r.u32()),
    added: from.vector(readMember),
    removed: from.vector(readMember),
    updated: from.vector((r) => ({ before: readMember(r), after: readMember(r) })),
    extensionsChanged: from.bool(),
    reinitialises: from.bool(),
  };
}

export function orNone(bytes: Uint8Array | undefined): Uint8Array {
  return bytes ?? none;
}
