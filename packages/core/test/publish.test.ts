import assert from "node:assert/strict";
import { test } from "node:test";
import { cameraSizes } from "../src/publish.ts";

test("of a camera of any size the whole picture is among the sizes that Chromium encodes", () => {
  const scales = (width?: number, height?: number) => cameraSizes(width, height).map(({ scaleResolutionDownBy }) => scaleResolutionDownBy);
  for (const [width, height] of [[1920, 1080], [1280, 720], [720, 1280], [960, 540]] as const) assert.deepEqual(scales(width, height), [4, 2, 1]);
  for (const [width, height] of [[640, 480], [480, 640], [640, 360], [480, 270]] as const) assert.deepEqual(scales(width, height), [2, 1]);
  for (const [width, height] of [[320, 240], [160, 90]] as const) assert.deepEqual(scales(width, height), [1]);
  assert.deepEqual(scales(), [4, 2, 1], "as long as the camera is off nobody knows");
});
