/** Numbers and texts as octets, for records that only this process reads. */

/** Octets that are written one after the other. One record at a time. */
export class OctetWriter {
  octets = new Uint8Array(4_096);
  #view = new DataView(this.octets.buffer);
  /** The number of octets that were written. */
  length = 0;

  begin(): void {
    this.length = 0;
  }

  octet(octet: number): void {
    this.#need(1);
    this.octets[this.length++] = octet;
  }

  /** Any number that 64-bit floating point can represent, also Infinity. */
  float(number: number): void {
    this.#need(8);
    this.#view.setFloat64(this.length, number);
    this.length += 8;
  }

  /** A safe integer, 0 or more: 7 bits in each octet, the lowest bits first. */
  count(count: number): void {
    this.#need(8);
    let rest = count;
    while (rest >= 0x80) {
      this.octets[this.length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.octets[this.length++] = rest;
  }

  /** One octet for each letter, or two if the text has letters beyond ASCII. */
  text(text: string): void {
    const isWide = isBeyondAscii(text);
    this.count(text.length * 2 + (isWide ? 1 : 0));
    this.#need(text.length * 2);
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (isWide) this.octets[this.length++] = unit >> 8;
      this.octets[this.length++] = unit & 0xff;
    }
  }

  bytes(bytes: Uint8Array): void {
    this.count(bytes.byteLength);
    this.#need(bytes.byteLength);
    this.octets.set(bytes, this.length);
    this.length += bytes.byteLength;
  }

  #need(more: number): void {
    if (this.length + more <= this.octets.byteLength) return;
    const larger = new Uint8Array(2 * (this.length + more));
    larger.set(this.octets);
    this.octets = larger;
    this.#view = new DataView(larger.buffer);
  }
}

function isBeyondAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return true;
  return false;
}

/** Reads what `OctetWriter` has written. */
export class OctetReader {
  readonly #octets: Uint8Array;
  readonly #view: DataView;
  #at: number;

  constructor({ octets, view, at }: { readonly octets: Uint8Array; readonly view: DataView; readonly at: number }) {
    this.#octets = octets;
    this.#view = view;
    this.#at = at;
  }

  octet(): number {
    return this.#octets[this.#at++] ?? 0;
  }

  float(): number {
    const number = this.#view.getFloat64(this.#at);
    this.#at += 8;
    return number;
  }

  count(): number {
    let count = 0;
    for (let unit = 1; ; unit *= 0x80) {
      const octet = this.octet();
      count += (octet & 0x7f) * unit;
      if (octet < 0x80) return count;
    }
  }

  text(): string {
    const head = this.count();
    const length = Math.floor(head / 2);
    let text = "";
    for (let done = 0; done < length; done += textPartMax) {
      const units: number[] = [];
      for (let i = Math.min(length - done, textPartMax); i > 0; i--)
        units.push(head % 2 === 1 ? (this.octet() << 8) | this.octet() : this.octet());
      text += String.fromCharCode(...units);
    }
    return text;
  }

  skipText(): void {
    const head = this.count();
    this.#at += head % 2 === 1 ? head - 1 : head / 2;
  }

  skip(octets: number): void {
    this.#at += octets;
  }

  /** Reads the next text. Returns whether it is this one. */
  isText(text: string): boolean {
    const head = this.count();
    const isWide = head % 2 === 1;
    const length = Math.floor(head / 2);
    const from = this.#at;
    this.#at += isWide ? length * 2 : length;
    if (length !== text.length) return false;
    for (let i = 0; i < length; i++) {
      const unit = isWide
        ? ((this.#octets[from + 2 * i] ?? 0) << 8) | (this.#octets[from + 2 * i + 1] ?? 0)
        : this.#octets[from + i];
      if (unit !== text.charCodeAt(i)) return false;
    }
    return true;
  }

  bytes(): Uint8Array {
    const length = this.count();
    this.#at += length;
    return this.#octets.slice(this.#at - length, this.#at);
  }
}

/** A text is decoded in parts of so many letters. */
const textPartMax = 1_024;
