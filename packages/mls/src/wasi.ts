/** What the module asks of its host: randomness and the time. It has no files, environment or output. */

const success = 0;
const badDescriptor = 8;
const notImplemented = 52;
const maxRandomBytes = 65536; // of one getRandomValues call

type HostFunction = (...values: readonly (number | bigint)[]) => number;
type FillRandom = (target: Uint8Array<ArrayBuffer>) => void;

/** Of the browser or of node; node 18 has it in a module only. */
export async function systemRandom(): Promise<FillRandom> {
  const source: Pick<Crypto, "getRandomValues"> =
    "crypto" in globalThis ? globalThis.crypto : ((await import("node:crypto")).webcrypto as unknown as Crypto);
  return (target) => {
    for (let offset = 0; offset < target.length; offset += maxRandomBytes) {
      source.getRandomValues(target.subarray(offset, offset + maxRandomBytes));
    }
  };
}

export function hostImports(
  module: WebAssembly.Module,
  memory: () => WebAssembly.Memory,
  random: FillRandom,
  verifyCredential: (pointer: number, size: number) => number,
): WebAssembly.Imports {
  const address = (value: number | bigint | undefined): number => Number(value ?? 0) >>> 0;
  const setZeros: HostFunction = (count, size) => {
    const view = new DataView(memory().buffer);
    view.setUint32(address(count), 0, true);
    view.setUint32(address(size), 0, true);
    return success;
  };
  const answered: Readonly<Record<string, HostFunction>> = {
    random_get: (pointer, size) => {
      random(new Uint8Array(memory().buffer as ArrayBuffer, address(pointer), address(size)));
      return success;
    },
    clock_time_get: (_clock, _precision, result) => {
      new DataView(memory().buffer).setBigUint64(address(result), BigInt(Date.now()) * 1_000_000n, true);
      return success;
    },
    environ_sizes_get: setZeros,
    environ_get: () => success,
    fd_prestat_get: () => badDescriptor,
    proc_exit: () => {
      throw new Error("the MLS module ended: a bug of ours");
    },
  };
  const functions: Record<string, HostFunction> = {};
  for (const wanted of WebAssembly.Module.imports(module)) {
    if (wanted.module === "satsuma" && wanted.name === "verify_credential") continue;
    if (wanted.module !== "wasi_snapshot_preview1" || wanted.kind !== "function") {
      throw new Error(`the module wants ${wanted.module}.${wanted.name}`);
    }
    functions[wanted.name] = answered[wanted.name] ?? (() => notImplemented);
  }
  return { wasi_snapshot_preview1: functions, satsuma: { verify_credential: verifyCredential } };
}
