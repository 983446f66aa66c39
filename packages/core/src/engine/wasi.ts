/**
 * The few WASI functions that the module imports. It has no files, no environment and no output; randomness and time
 * are real. Whatever else it might call is refused with ENOSYS, and an import of another kind when the module is loaded.
 */

const success = 0;
const badDescriptor = 8;
const noSuchFunction = 52;
const maxRandomBytes = 65536; // of one getRandomValues call

type WasiFunction = (...values: readonly (number | bigint)[]) => number;

export function wasiImports(module: WebAssembly.Module, memory: () => WebAssembly.Memory): WebAssembly.Imports {
  const view = (): DataView => new DataView(memory().buffer);
  const address = (value: number | bigint | undefined): number => Number(value ?? 0) >>> 0;
  const twoZeros: WasiFunction = (count, size) => {
    view().setUint32(address(count), 0, true);
    view().setUint32(address(size), 0, true);
    return success;
  };
  const known: Readonly<Record<string, WasiFunction>> = {
    random_get: (pointer, size) => {
      const target = new Uint8Array(memory().buffer, address(pointer), address(size));
      for (let offset = 0; offset < target.length; offset += maxRandomBytes) {
        crypto.getRandomValues(target.subarray(offset, offset + maxRandomBytes));
      }
      return success;
    },
    clock_time_get: (_clock, _precision, result) => {
      view().setBigUint64(address(result), BigInt(Math.round(Date.now() * 1e6)), true);
      return success;
    },
    environ_sizes_get: twoZeros,
    environ_get: () => success,
    fd_prestat_get: () => badDescriptor,
    proc_exit: () => {
      throw new Error("the module called exit");
    },
  };
  const functions: Record<string, WasiFunction> = {};
  for (const wanted of WebAssembly.Module.imports(module)) {
    if (wanted.module !== "wasi_snapshot_preview1" || wanted.kind !== "function") {
      throw new Error(`the module wants ${wanted.module}.${wanted.name}`);
    }
    functions[wanted.name] = known[wanted.name] ?? (() => noSuchFunction);
  }
  return { wasi_snapshot_preview1: functions };
}
