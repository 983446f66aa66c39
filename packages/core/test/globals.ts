/** Import first. Node 18 has the browser's `crypto`, but not under its global name. */
import { webcrypto } from "node:crypto";

if (!("crypto" in globalThis)) Object.defineProperty(globalThis, "crypto", { value: webcrypto });
