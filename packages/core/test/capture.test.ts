import assert from "node:assert/strict";
import { test } from "node:test";
import { deviceError } from "../src/capture.ts";

const refused = (words: string): DOMException => new DOMException(words, "NotAllowedError");

test("a picker that was closed is no error, and a system that forbids the screen is one with its own advice", () => {
  assert.equal(deviceError("screen", refused("Permission denied")).code, "cancelled");
  const forbidden = deviceError("screen", refused("Permission denied by system"));
  assert.equal(forbidden.code, "permission-denied");
  assert.match(forbidden.advice, /privacy settings/);
  assert.match(deviceError("screen", new DOMException("", "NotFoundError")).message, /no screen that can be shared/);
});

test("each failure of a device says what to do, by the device's name", () => {
  for (const source of ["microphone", "camera"] as const) {
    for (const [name, code] of [["NotAllowedError", "permission-denied"], ["NotFoundError", "no-device"], ["NotReadableError", "in-use"], ["SecurityError", "insecure-context"], ["OddError", "failed"]] as const) {
      const error = deviceError(source, new DOMException("", name));
      assert.equal(error.code, code);
      assert.ok(error.message.includes(source) && error.advice !== "", error.message);
    }
  }
});
