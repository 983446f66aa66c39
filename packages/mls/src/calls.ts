/** The module behind its one call (apps/mls-wasm/mls_wasm.h). */
import { Reader, Writer } from "./wire.ts";
import { hostImports, systemRandom } from "./wasi.ts";

const abiVersion = 1;

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

export class Calls {
  private readonly functions: Functions;
  private readonly memory: WebAssembly.Memory;

  private constructor(functions: Functions, memory: WebAssembly.Memory) {
    this.functions = functions;
    this.memory = memory;
  }

  static async instantiate(module: WebAssembly.Module): Promise<Calls> {
    let memory: WebAssembly.Memory | undefined;
    const memoryOf = (): WebAssembly.Memory => {
      if (memory === undefined) throw new Error("the module has no memory");
      return memory;
    };
    const { exports } = await WebAssembly.instantiate(module, hostImports(module, memoryOf, await systemRandom()));
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
    return new Calls(functions, memoryOf());
  }

  /** Throws MlsError. */
  call(operation: Operation, write: (request: Writer) => void): Reader {
    const request = new Writer();
    write(request);
    const bytes = request.view();
    const pointer = bytes.length === 0 ? 0 : this.functions.satsuma_mls_alloc(bytes.length) >>> 0;
    if (bytes.length > 0 && pointer === 0) throw new RangeError("the request is too large");
    try {
      new Uint8Array(this.memory.buffer).set(bytes, pointer);
      const answer = this.functions.satsuma_mls_call(operations.indexOf(operation), pointer, bytes.length) >>> 0;
      const header = new DataView(this.memory.buffer, answer, 8);
      const payload = new Uint8Array(this.memory.buffer, answer + 8, header.getUint32(4, true));
      if (header.getUint32(0, true) === 0) return new Reader(new Uint8Array(payload)); // a copy: the next call reuses the place
      const name = new TextDecoder().decode(payload.slice(1));
      throw new MlsError(name, errorKinds[payload[0] ?? 0] ?? "caller");
    } finally {
      this.functions.satsuma_mls_free(pointer, bytes.length);
      request.wipe();
    }
  }

  release(handle: number): void {
    this.functions.satsuma_mls_release(handle);
  }
  /** How many objects the module holds. */
  handles(): number {
    return this.functions.satsuma_mls_handles();
  }
}
