import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const styles = readFileSync("src/styles.css", "utf8");

/** Of `--name: light-dark(#..., #...)`, relative luminance (WCAG 2.2). */
function luminance(name: string, theme: 0 | 1): number {
  const [, ...values] = new RegExp(`--${name}: light-dark\\(#([0-9a-f]{6}), #([0-9a-f]{6})\\)`).exec(styles) ?? assert.fail(name);
  const parts = (values[theme] ?? assert.fail(name)).match(/../g) ?? assert.fail(name);
  const [red = 0, green = 0, blue = 0] = parts.map((part) => Number.parseInt(part, 16) / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

const contrast = (one: number, other: number): number => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);

test("words stand out from what they are written on, and fields from what is around them, in light and in dark", () => {
  const words = [["text", "ground"], ["text-2", "ground"], ["text-2", "surface"], ["text-2", "surface-2"], ["accent", "ground"], ["accent", "surface-2"], ["on-accent", "accent"], ["warning-text", "warning-ground"]] as const;
  for (const theme of [0, 1] as const) {
    const of = (name: string): number => luminance(name, theme);
    for (const [word, ground] of words) assert.ok(contrast(of(word), of(ground)) >= 4.5, `${word} on ${ground}: ${contrast(of(word), of(ground)).toFixed(2)}`);
    assert.ok(contrast(1, of("danger")) >= 4.5, "white on danger");
    for (const ground of ["ground", "surface"]) assert.ok(contrast(of("edge"), of(ground)) >= 3, `edge on ${ground}`);
  }
});
