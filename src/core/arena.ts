/**
 * Octets of many small records in a few large pieces of memory, without an object for each. A record belongs to a row, and is found by its
 * address.
 *
 * Records are written one after the other into the newest piece. A record that is removed leaves a hole. When a quarter of a full piece is
 * holes, the records that are left in it are written again into the newest piece, and its memory is used again. So about a quarter of the
 * memory is holes at most. A removal, or an addition, copies one piece at most, and seldom.
 */
import { assert, type Found } from "./assert.ts";

/** Octets of a piece. */
const usualPiece = 262_144;
/** A record of so many octets, or more, has a piece of its own. */
const largeFrom = 65_535;
/** Records begin at multiples of this. */
const step = 2;
/** The number of addresses in one piece. */
const addressesPerPiece = usualPiece / step;
/** An address has 32 bits. */
const piecesMax = Math.floor((2 ** 32 - 1) / addressesPerPiece);
/** Before each record: its row in 4 octets, and its length in 2. With the length `largeFrom`, the piece has only this record. */
const headerOctets = 6;
const lengthAt = 4;
/** In place of a row: the record was removed. */
const hole = -1;
/** At most so many empty pieces are kept for the next use. */
const spareMax = 2;

/** The place of a record. It is valid until a record is added or removed. */
export interface Place {
  readonly view: DataView;
  readonly octets: Uint8Array;
  /** The offset of the first octet of the record. */
  readonly at: number;
}

interface Piece {
  readonly view: DataView;
  readonly octets: Uint8Array;
  /** The number of octets that were written. */
  end: number;
  /** The octets of records that were not removed. */
  used: number;
}

export class Arena {
  readonly #pieces: (Piece | undefined)[] = [];
  /** Numbers of pieces that no piece has now. */
  readonly #free: number[] = [];
  readonly #spare: Piece[] = [];
  /** The number of the newest piece. */
  #newest = -1;
  #records = 0;
  /** Called when a record has got another address. */
  readonly #moved: (row: number, address: number) => void;

  constructor(moved: (row: number, address: number) => void) {
    this.#moved = moved;
  }

  /** The number of records. */
  get size(): number {
    return this.#records;
  }

  /** Octets of all pieces. */
  get octets(): number {
    let octets = 0;
    for (const piece of this.#pieces) octets += piece?.octets.byteLength ?? 0;
    return octets;
  }

  /** There may be no address for one more record. */
  get isFull(): boolean {
    return this.#free.length === 0 && this.#pieces.length >= piecesMax - 1;
  }

  /** Keeps a copy of the first `length` octets for this row, unless it `isFull`. Returns the address, which is above 0. */
  add(row: number, from: Uint8Array, length: number): number {
    const size = sizeOf(length);
    this.#records++;
    if (length >= largeFrom) {
      const number = this.#keep(newPiece(size));
      return addressOf(number, this.#write(number, row, from, length));
    }
    const before = this.#newest;
    const room = this.#pieces[before];
    const isNew = !room || room.end + size > room.octets.byteLength;
    if (isNew) this.#newest = this.#keep(this.#spare.pop() ?? newPiece(usualPiece));
    const address = addressOf(this.#newest, this.#write(this.#newest, row, from, length));
    if (isNew) this.#tidy(before); // removals have left it as it was while it was the newest
    return address;
  }

  /** The record at this address. */
  place(address: number): Place {
    const piece = this.#pieces[pieceOf(address)];
    assert(piece, "there is a record at this address");
    return { view: piece.view, octets: piece.octets, at: offsetOf(address) + headerOctets };
  }

  /** The record at this address must exist. */
  remove(address: number): void {
    const number = pieceOf(address);
    const piece = this.#pieces[number];
    const at = offsetOf(address);
    assert(piece && piece.view.getInt32(at) !== hole, "a record that is removed is there");
    piece.view.setInt32(at, hole);
    piece.used -= sizeOf(lengthOf(piece, at));
    this.#records--;
    if (number !== this.#newest) this.#tidy(number);
  }

  /** Checks that records are counted correctly, and that each row has the address of its record. For tests. */
  check(known: (row: number) => number, found: Found): void {
    let records = 0;
    for (const [number, piece] of this.#pieces.entries()) {
      if (!piece) continue;
      let used = 0;
      for (const [row, at, size] of recordsOf(piece)) {
        records++;
        used += size;
        if (known(row) !== addressOf(number, at)) found(`the octets of row ${row} are not where it says`);
      }
      if (used !== piece.used) found(`${used} octets of a piece are in use, ${piece.used} are counted`);
      if (number !== this.#newest && isSparse(piece)) found(`a piece of ${piece.end} octets has ${used} in use`);
    }
    if (records !== this.#records) found(`${records} rows have octets, ${this.#records} are counted`);
  }

  /** Returns the number of the piece, which is empty. */
  #keep(piece: Piece): number {
    piece.end = 0;
    piece.used = 0;
    const number = this.#free.pop() ?? this.#pieces.length;
    this.#pieces[number] = piece;
    return number;
  }

  /** Writes a record behind the last one of this piece. Returns where it begins. */
  #write(number: number, row: number, from: Uint8Array, length: number): number {
    const piece = this.#pieces[number];
    assert(piece, "there is a piece of this number");
    const at = piece.end;
    piece.view.setInt32(at, row);
    piece.view.setUint16(at + lengthAt, Math.min(length, largeFrom));
    piece.octets.set(from.subarray(0, length), at + headerOctets);
    piece.end += sizeOf(length);
    piece.used += sizeOf(length);
    return at;
  }

  /** If much of this piece is holes, what is left in it is written into the newest one. */
  #tidy(number: number): void {
    const piece = this.#pieces[number];
    if (!piece || !isSparse(piece)) return;
    for (const [row, at] of recordsOf(piece)) {
      this.#records--;
      this.#moved(row, this.add(row, piece.octets.subarray(at + headerOctets), lengthOf(piece, at)));
    }
    this.#pieces[number] = undefined;
    this.#free.push(number);
    if (this.#spare.length < spareMax && piece.octets.byteLength === usualPiece) this.#spare.push(piece);
  }
}

function newPiece(size: number): Piece {
  const octets = new Uint8Array(size);
  return { octets, view: new DataView(octets.buffer), end: 0, used: 0 };
}

function addressOf(piece: number, at: number): number {
  return piece * addressesPerPiece + at / step + 1;
}

function pieceOf(address: number): number {
  return Math.floor((address - 1) / addressesPerPiece);
}

function offsetOf(address: number): number {
  return ((address - 1) % addressesPerPiece) * step;
}

/** More than a quarter of the piece is holes. */
function isSparse({ used, end }: Piece): boolean {
  return used < end - (end >> 2);
}

function lengthOf({ view, end }: Pick<Piece, "view" | "end">, at: number): number {
  const length = view.getUint16(at + lengthAt);
  return length === largeFrom ? end - headerOctets : length;
}

/** The octets of a record with its header, rounded up to whole steps. */
function sizeOf(length: number): number {
  return Math.ceil((length + headerOctets) / step) * step;
}

function* recordsOf(piece: Piece): IterableIterator<readonly [row: number, at: number, size: number]> {
  for (let at = 0; at < piece.end; ) {
    const size = sizeOf(lengthOf(piece, at));
    const row = piece.view.getInt32(at);
    if (row !== hole) yield [row, at, size];
    at += size;
  }
}
