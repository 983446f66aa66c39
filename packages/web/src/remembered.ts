/** What this browser remembers of the person's choices from one meeting to the next. */
import type { DeviceKind } from "@satsuma/core";

import { readStored, writeStored } from "./theme.ts";

const deviceKey = (kind: DeviceKind): string => `satsuma.device.${kind}`;
const offKey = (source: "microphone" | "camera"): string => `satsuma.off.${source}`;

/** Null: the system's. It may be gone meanwhile. */
export function rememberedDevice(kind: DeviceKind): string | null {
  const id = readStored(deviceKey(kind));
  return id === "" ? null : id;
}

export function rememberDevice(kind: DeviceKind, id: string | null): void {
  writeStored(deviceKey(kind), id ?? "");
}

/** Whether the person came into the last meeting without it. */
export function wasOff(source: "microphone" | "camera"): boolean {
  return readStored(offKey(source)) === "yes";
}

export function rememberOff(source: "microphone" | "camera", off: boolean): void {
  writeStored(offKey(source), off ? "yes" : "");
}
