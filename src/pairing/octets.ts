/**
 * Functions on octets in pairing. A packet has the low octet first; the functions of the standard have the high octet
 * first.
 */

export function joined(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export function reversed(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes).reverse();
}

export function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((octet, i) => octet ^ (b[i] ?? 0));
}

/** The comparison takes the same time for any difference. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (const [i, octet] of a.entries()) difference |= octet ^ (b[i] ?? 0);
  return difference === 0;
}
