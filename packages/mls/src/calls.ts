/** The module behind its one call (apps/mls-wasm/mls_wasm.h). */
import { Reader, Writer } from "./wire.ts";
import { hostImports, systemRandom } from "./wasi.ts";

/** Answers the module's question whose a credential is (mls_wasm.cpp has its form). */
export type CredentialQuestion = (question: Reader) => boolean;

const abiVersion = 2;

/** By number; mls_wasm.cpp has the same list. */
const operations = [
  "suites",
  "signatureKeys",
  "signaturePrivateKey",
  "keyPackageGenerate",
  "keyPackageLoad",
  "keyPackageStore",
  "keyPackageVerify",
  "groupCreate",
  "groupJoin",
  "groupLoad",
  "groupStore",
  "groupState",
  "groupMembers",
  "groupBytes",
  "groupExport",
  "groupInfo",
  "groupCommit",
  "pendingStore",
  "pendingLoad",
  "groupMerge",
  "groupReceive",
  "groupProtect",
  "groupPropose",
  "publicGroupNew",
  "publicGroupLoad",
  "publicGroupStore",
  "publicGroupState",
  "publicGroupReceive",
  "publicGroupApply",
  "groupProposeUpdate",
  "groupJoinExternal",
  "externalJoinMerge",
  "proposeFromOutside",
  "proposeOneself",
  "groupBranch",
  "groupReinitialise",
  "configure",
] as const;
export type Operation = (typeof operations)[number];

/** Whose fault an error is: what came from the network, our machine, or the calling code. */
export type MlsErrorKind = "peer" | "environment" | "caller";
const errorKinds: readonly MlsErrorKind[] = ["peer", "environment", "caller"];

/** A rule that was broken, by its name, for instance `mls_epoch_mismatch`. Nothing has changed by the call that throws it. */
export class MlsError extends Error {
  readonly code: string;
  readonly kind: MlsErrorKind;
  constructor(code: string, kind: MlsErrorKind) {
    super(code);
    this.name = "MlsError";
    this.code = code;
    this.kind = kind;
  }
}

type ModuleFunction = (...values: readonly number[]) => number;
const functionNames = [
  "satsuma_mls_abi_version",
  "satsuma_mls_alloc",
  "satsuma_mls_free",
  "satsuma_mls_call",
  "satsuma_mls_release",
  "satsuma_mls_handles",
] as const;
type Functions = Readonly<Record<(typeof functionNames)[number], ModuleFunction>>;

interface Host {
  answer: CredentialQuestion | undefined;
  busy: boolean;
  /** Released while a verifier was asked: what it is asked about is in use until the call returns. */
  readonly releases: number[];
  thrown: { readonly error: unknown } | undefined;
}

export class Calls {
  private readonly functions: Functions;
  private readonly memory: WebAssembly.Memory;

  private readonly host: Host;

  private constructor(functions: Functions, memory: WebAssembly.Memory, host: Host) {
    this.functions = functions;
    this.memory = memory;
    this.host = host;
  }

  static async instantiate(module: WebAssembly.Module): Promise<Calls> {
    let memory: WebAssembly.Memory | undefined;
    const memoryOf = (): WebAssembly.Memory => {
      if (memory === undefined) throw new Error("the module has no memory");
      return memory;
    };
    const host: Host = { answer: undefined, busy: false, releases: [], thrown: undefined };
    // Nothing may be thrown through the module: it is kept, and thrown when the call has returned.
    const verifyCredential = (pointer: number, size: number): number => {
      try {
        return host.answer?.(new Reader(new Uint8Array(memoryOf().buffer, pointer >>> 0, size >>> 0).slice())) === true ? 1 : 0;
      } catch (error) {
        host.thrown ??= { error };
        return 2;
      }
    };
    const { exports } = await WebAssembly.instantiate(module, hostImports(module, memoryOf, await systemRandom(), verifyCredential));
    if (exports["memory"] instanceof WebAssembly.Memory) memory = exports["memory"];
    const found = (name: string): ModuleFunction => {
      const value = exports[name];
      if (typeof value !== "function") throw new Error(`the module has no ${name}`);
      return value as ModuleFunction;
    };
    found("_initialize")();
    const functions = Object.fromEntries(functionNames.map((name) => [name, found(name)])) as unknown as Functions;
    const version = functions.satsuma_mls_abi_version();
    if (version !== abiVersion) throw new Error(`the module speaks version ${version}, not ${abiVersion}`);
    return new Calls(functions, memoryOf(), host);
  }

  onCredentialQuestion(answer: CredentialQuestion | undefined): void {
    this.host.answer = answer;
  }

  /** Throws MlsError, and what a credential verifier threw. */
  call(operation: Operation, write: (request: Writer) => void): Reader {
    if (this.host.busy) throw new Error("called from within a credential verifier");
    const request = new Writer();
    write(request);
    const bytes = request.view();
    const pointer = bytes.length === 0 ? 0 : this.functions.satsuma_mls_alloc(bytes.length) >>> 0;
    if (bytes.length > 0 && pointer === 0) throw new RangeError("the request is too large");
    try {
      new Uint8Array(this.memory.buffer).set(bytes, pointer);
      this.host.busy = true;
      const answer = this.functions.satsuma_mls_call(operations.indexOf(operation), pointer, bytes.length) >>> 0;
      const thrown = this.host.thrown;
      if (thrown !== undefined) throw thrown.error;
      const header = new DataView(this.memory.buffer, answer, 8);
      const payload = new Uint8Array(this.memory.buffer, answer + 8, header.getUint32(4, true));
      if (header.getUint32(0, true) === 0) return new Reader(new Uint8Array(payload)); // a copy: the next call reuses the place
      const name = new TextDecoder().decode(payload.slice(1));
      throw new MlsError(name, errorKinds[payload[0] ?? 0] ?? "caller");
    } finally {
      this.host.busy = false;
      this.host.thrown = undefined;
      for (const handle of this.host.releases.splice(0)) this.release(handle);
      this.functions.satsuma_mls_free(pointer, bytes.length);
      request.wipe();
    }
  }

  release(handle: number): void {
    if (this.host.busy) this.host.releases.push(handle);
    else this.functions.satsuma_mls_release(handle);
  }
  /** How many objects the module holds. */
  handles(): number {
    return this.functions.satsuma_mls_handles();
  }
}
