/** Checks at the border: from `unknown` to a type, or a CheckError. No message of a peer is used without one. */

export class CheckError extends Error {}

export type Check<Value> = (value: unknown) => Value;
type Checked<Shape extends Record<string, Check<unknown>>> = { readonly [Key in keyof Shape]: ReturnType<Shape[Key]> };

export function text(maxLength: number): Check<string> {
  return (value) => {
    if (typeof value !== "string" || value.length > maxLength) throw new CheckError("not a text of the right length");
    return value;
  };
}

export function integer(min: number, max: number): Check<number> {
  return (value) => {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max) {
      throw new CheckError("not an integer in range");
    }
    return value;
  };
}

export const boolean: Check<boolean> = (value) => {
  if (typeof value !== "boolean") throw new CheckError("not a boolean");
  return value;
};

export function oneOf<const Values extends readonly string[]>(...values: Values): Check<Values[number]> {
  return (value) => {
    const found = values.find((candidate) => candidate === value);
    if (found === undefined) throw new CheckError("not one of the known words");
    return found;
  };
}

export function matching<Value extends string>(guard: (candidate: string) => candidate is Value): Check<Value> {
  return (value) => {
    if (typeof value !== "string" || !guard(value)) throw new CheckError("not of the expected form");
    return value;
  };
}

export function arrayOf<Value>(check: Check<Value>, maxLength: number): Check<readonly Value[]> {
  return (value) => {
    if (!Array.isArray(value) || value.length > maxLength) throw new CheckError("not an array of the right length");
    return value.map((element: unknown) => check(element));
  };
}

export function nullable<Value>(check: Check<Value>): Check<Value | null> {
  return (value) => (value === null || value === undefined ? null : check(value));
}

/** Members that the shape does not name are ignored, and left out of the result. */
export function object<Shape extends Record<string, Check<unknown>>>(shape: Shape): Check<Checked<Shape>> {
  return (value) => {
    const source = record(value);
    const entries = Object.entries(shape).map(([key, check]) => [key, check(source[key])] as const);
    return Object.fromEntries(entries) as Checked<Shape>;
  };
}

export const record: Check<Readonly<Record<string, unknown>>> = (value) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new CheckError("not an object");
  return value as Readonly<Record<string, unknown>>;
};

/** Null instead of an exception. */
export function attempt<Value>(check: Check<Value>, value: unknown): Value | null {
  try {
    return check(value);
  } catch (error) {
    if (error instanceof CheckError) return null;
    throw error;
  }
}

export function unreachable(value: never): never {
  throw new Error(`unhandled: ${JSON.stringify(value)}`);
}
