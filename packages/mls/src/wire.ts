/** The TLS presentation language with MLS's variable-length vectors (RFC 9420 s.2), as far as requests and answers need it. */

const maxVarint = 0x3fffffff;

export class Writer {
  private buffer = new Uint8Array(256);
  private size = 0;

  private grow(by: number): DataView {
    if (this.size + by > this.buffer.length) {
      const larger = new Uint8Array(Math.max(2 * this.buffer.length, this.size + by));
      larger.set(this.buffer.subarray(0, this.size));
      this.buffer.fill(0); // it may have held a secret
      this.buffer = larger;
    }
    return new DataView(this.buffer.buffer);
  }
  u8(value: number): this {
    this.grow(1).setUint8(this.size, value);
    this.size += 1;
    return this;
  }
  u16(value: number): this {
    this.grow(2).setUint16(this.size, value);
    this.size += 2;
    return this;
  }
  u32(value: number): this {
    this.grow(4).setUint32(this.size, value);
    this.size += 4;
    return this;
  }
  u64(value: bigint): this {
    this.grow(8).setBigUint64(this.size, value);
    this.size += 8;
    return this;
  }
  bool(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }
  raw(bytes: Uint8Array): this {
    this.grow(bytes.length);
    this.buffer.set(bytes, this.size);
    this.size += bytes.length;
    return this;
  }
  /** opaque x<V> */
  opaque(bytes: Uint8Array): this {
    const length = bytes.length;
    if (length > maxVarint) throw new RangeError("longer than MLS can say");
    if (length < 0x40) this.u8(length);
    else if (length < 0x4000) this.u16(0x4000 | length);
    else this.u32(0x80000000 + length);
    return this.raw(bytes);
  }
  /** T x<V> */
  vector<T>(values: readonly T[], write: (writer: Writer, value: T) => void): this {
    const body = new Writer();
    for (const value of values) write(body, value);
    this.opaque(body.view());
    body.wipe();
    return this;
  }
  optional<T>(value: T | undefined, write: (writer: Writer, value: T) => void): this {
    this.bool(value !== undefined);
    if (value !== undefined) write(this, value);
    return this;
  }
  view(): Uint8Array {
    return this.buffer.subarray(0, this.size);
  }
  wipe(): void {
    this.buffer.fill(0);
  }
}

/** Reads answers of the module; what it hands out are copies. */
export class Reader {
  private readonly view: DataView;
  private at = 0;
  private readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  private step(by: number): number {
    const here = this.at;
    if (here + by > this.bytes.length) throw new RangeError("the module's answer is too short");
    this.at += by;
    return here;
  }
  u8(): number {
    return this.view.getUint8(this.step(1));
  }
  u16(): number {
    return this.view.getUint16(this.step(2));
  }
  u32(): number {
    return this.view.getUint32(this.step(4));
  }
  u64(): bigint {
    return this.view.getBigUint64(this.step(8));
  }
  bool(): boolean {
    return this.u8() === 1;
  }
  private length(): number {
    const first = this.view.getUint8(this.at);
    if (first < 0x40) return this.u8();
    if (first < 0x80) return this.u16() & 0x3fff;
    return this.u32() & maxVarint;
  }
  opaque(): Uint8Array<ArrayBuffer> {
    const size = this.length();
    const start = this.step(size);
    return new Uint8Array(this.bytes.subarray(start, start + size));
  }
  vector<T>(read: (reader: Reader) => T): T[] {
    const size = this.length();
    const end = this.at + size;
    const out: T[] = [];
    while (this.at < end) out.push(read(this));
    return out;
  }
  optional<T>(read: (reader: Reader) => T): T | undefined {
    return this.bool() ? read(this) : undefined;
  }
}
