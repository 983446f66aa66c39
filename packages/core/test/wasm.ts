/** The real module, where it is built. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { WasmModule } from "../src/engine/module.ts";

const compiled = await readFile(new URL("../../wasm/satsuma.wasm", import.meta.url)).catch(() => null);
export const skip = compiled === null ? "the module is not built" : false;

export async function instantiate(): Promise<WasmModule> {
  assert.ok(compiled !== null);
  return WasmModule.instantiate(await WebAssembly.compile(new Uint8Array(compiled)));
}
