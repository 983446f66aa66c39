import type { LocalPreview } from "./api.ts";

export function createPreview(): LocalPreview {
  throw new Error("being written");
}
