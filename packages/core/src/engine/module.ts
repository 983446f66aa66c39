/** The WASM module behind typed functions (apps/wasm/satsuma_wasm.h). Views are made anew after each call: it may grow. */
import { fromHex } from "../ids.ts";
import { wasiImports } from "./wasi.ts";

const abiVersion = 3;

/** enum SatsumaCode. */
export const code = {
  noSpace: -3,
  noKey: -10,
  unknownKey: -11,
  expiredKey: -12,
  replayed: -13,
  forged: -14,
  malformed: -15,
  passedOver: -17,
  wrongLine: -18,
} as const;

/** satsuma_receiver_nobody: a leaf that no frame can name. */
export const nobody = 0x1000;
/** enum SatsumaFrameKind: what the encoder made. */
export const frameKind = {
  opus: 0,
  vp8Key: 1,
  vp8Delta: 2,
  vp9: 3,
  av1Key: 4,
  av1Delta: 5,
  h264Key: 6,
  h264Delta: 7,
} as const;
/** enum SatsumaShell. */
export const shell = { none: 0, video: 1 } as const;

export type Output =
  | { readonly kind: "binary"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "event"; readonly json: string }
  | { readonly kind: "reconnect"; readonly delayMs: number }
  | { readonly kind: "close" };

export interface SessionArguments {
  readonly room: string;
  readonly secret: Uint8Array;
  readonly deviceSeed: Uint8Array;
  readonly name: string;
  /** SatsumaSuite of satsuma_wasm.h; the standard one if left out. */
  readonly suite?: number;
}

const functionNames = [
  "satsuma_abi_version",
  "satsuma_alloc",
  "satsuma_free",
  "satsuma_session_new",
  "satsuma_session_tree_in_welcomes",
  "satsuma_session_connected",
  "satsuma_session_disconnected",
  "satsuma_session_frame",
  "satsuma_session_timeout",
  "satsuma_session_leave",
  "satsuma_session_send_application",
  "satsuma_session_next_deadline",
  "satsuma_session_poll",
  "satsuma_protected_size",
  "satsuma_sender_new",
  "satsuma_sender_free",
  "satsuma_frame_protect",
  "satsuma_receiver_new",
  "satsuma_receiver_free",
  "satsuma_receiver_set_leaf",
  "satsuma_frame_unprotect",
  "satsuma_receiver_last_leaf",
  "satsuma_receiver_last_context",
  "satsuma_receiver_last_epoch",
  "satsuma_receiver_last_is_key",
] as const;
type ModuleFunction = (...values: readonly number[]) => number;
type Functions = Readonly<Record<(typeof functionNames)[number], ModuleFunction>>;

export async function loadModule(url: URL): Promise<WasmModule> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the encryption module did not load (${response.status})`);
  const module = await WebAssembly.compile(await response.arrayBuffer());
  return WasmModule.instantiate(module);
}

export class WasmModule {
  readonly #memory: WebAssembly.Memory;
  #view: Uint8Array<ArrayBuffer>;
  readonly #functions: Functions;

  private constructor(memory: WebAssembly.Memory, functions: Functions) {
    this.#memory = memory;
    this.#view = new Uint8Array(memory.buffer as ArrayBuffer);
    this.#functions = functions;
  }

  static async instantiate(module: WebAssembly.Module): Promise<WasmModule> {
    let memory: WebAssembly.Memory | null = null;
    const imports = wasiImports(module, () => {
      if (memory === null) throw new Error("called before it was instantiated");
      return memory;
    });
    const instance = await WebAssembly.instantiate(module, imports);
    const exported = instance.exports["memory"];
    if (!(exported instanceof WebAssembly.Memory)) throw new Error("the module exports no memory");
    memory = exported;
    const initialize = instance.exports["_initialize"];
    if (typeof initialize === "function") initialize();
    const functions = Object.fromEntries(
      functionNames.map((name) => {
        const value = instance.exports[name];
        if (typeof value !== "function") throw new Error(`the module exports no ${name}`);
        return [name, value as ModuleFunction];
      }),
    ) as Functions;
    if (functions.satsuma_abi_version() !== abiVersion) throw new Error("the module has another ABI version");
    return new WasmModule(exported, functions);
  }

  get call(): Functions {
    return this.#functions;
  }

  /** The whole memory, until it grows: only for the next access. */
  get memory(): Uint8Array<ArrayBuffer> {
    if (this.#view.buffer !== this.#memory.buffer) this.#view = new Uint8Array(this.#memory.buffer as ArrayBuffer);
    return this.#view;
  }

  /** Room that any protected frame of this size may need. */
  protectedSize(size: number): number {
    return this.#functions.satsuma_protected_size(frameKind.h264Key, size);
  }

  bytes(pointer: number, size: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#memory.buffer as ArrayBuffer, pointer >>> 0, size);
  }

  copyOut(pointer: number, size: number): Uint8Array<ArrayBuffer> {
    return this.bytes(pointer, size).slice();
  }

  /** Calls `use` with addresses of copies of the values, which are wiped afterwards. An empty one has address 0. */
  withCopies(values: readonly Uint8Array[], use: (pointers: readonly number[]) => number): number {
    const pointers = values.map((value) => (value.length === 0 ? 0 : this.allocate(value.length)));
    values.forEach((value, index) => {
      if (value.length > 0) this.bytes(pointers[index] ?? 0, value.length).set(value);
    });
    try {
      return use(pointers);
    } finally {
      values.forEach((value, index) => {
        if (value.length > 0) this.#functions.satsuma_free(pointers[index] ?? 0, value.length);
      });
    }
  }

  allocate(size: number): number {
    const pointer = this.#functions.satsuma_alloc(size) >>> 0;
    if (pointer === 0) throw new Error("the module is out of memory");
    return pointer;
  }

  free(pointer: number, size: number): void {
    this.#functions.satsuma_free(pointer, size);
  }
}

const microseconds = (): number => Math.floor(performance.now() * 1000);

/** `call`'s ClientSession in the module. After each method that is not `poll`, poll until null. */
export class WasmSession {
  readonly module: WasmModule;
  readonly handle: number;

  constructor(module: WasmModule, values: SessionArguments) {
    this.module = module;
    const encoder = new TextEncoder();
    const copies = [encoder.encode(values.room), values.secret, values.deviceSeed, encoder.encode(values.name)];
    this.handle = module.withCopies(copies, (pointers) =>
      module.call.satsuma_session_new(
        ...copies.flatMap((copy, index) => [pointers[index] ?? 0, copy.length]),
        values.suite ?? 0,
        microseconds(),
        Date.now() / 1000,
      ),
    );
    if (this.handle === 0) throw new Error("the module refused the session's arguments");
  }

  /** For a delivery service that only orders: before `connected`. */
  putTreeInWelcomes(): void {
    this.module.call.satsuma_session_tree_in_welcomes(this.handle);
  }

  connected(): void {
    this.module.call.satsuma_session_connected(this.handle, microseconds());
  }

  disconnected(): void {
    this.module.call.satsuma_session_disconnected(this.handle, microseconds());
  }

  frame(bytes: Uint8Array): void {
    this.module.withCopies([bytes], ([pointer = 0]) =>
      this.module.call.satsuma_session_frame(this.handle, pointer, bytes.length, microseconds()),
    );
  }

  timeout(): void {
    this.module.call.satsuma_session_timeout(this.handle, microseconds());
  }

  leave(): void {
    this.module.call.satsuma_session_leave(this.handle, microseconds());
  }

  /** To these members, or without any to all others. False: nothing was sent, since we are not in, or since who has left could still read it. */
  sendApplication(json: string, to: readonly string[]): boolean {
    const bytes = new TextEncoder().encode(json);
    const ids = fromHex(to.join(""));
    const code = this.module.withCopies([bytes, ids], ([pointer = 0, idsPointer = 0]) =>
      this.module.call.satsuma_session_send_application(this.handle, pointer, bytes.length, idsPointer, ids.length, microseconds()),
    );
    return code === 0;
  }

  /** Milliseconds from now, or null for never. */
  nextTimeoutMs(): number | null {
    const deadline = this.module.call.satsuma_session_next_deadline(this.handle);
    return deadline < 0 ? null : Math.max(0, Math.ceil((deadline - microseconds()) / 1000));
  }

  poll(): Output | null {
    const pointer = this.module.call.satsuma_session_poll(this.handle) >>> 0;
    if (pointer === 0) return null;
    const header = this.module.bytes(pointer, 8);
    const view = new DataView(header.buffer, header.byteOffset, 8);
    const kind = view.getUint32(0, true);
    const payload = this.module.copyOut(pointer + 8, view.getUint32(4, true));
    switch (kind) {
      case 1:
        return { kind: "binary", bytes: payload };
      case 2:
        return { kind: "event", json: new TextDecoder().decode(payload) };
      case 3:
        return { kind: "reconnect", delayMs: new DataView(payload.buffer).getUint32(0, true) };
      case 4:
        return { kind: "close" };
      default:
        throw new Error(`the module put out an unknown kind ${kind}`);
    }
  }
}
