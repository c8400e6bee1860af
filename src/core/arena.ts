/**
 * Octets of many small records in a few large pieces of memory, without an object for each. A record belongs to a row, and is found by its
 * address.
 *
 * Records are written one after the other into the newest piece. A record that is removed leaves a hole. When a quarter of a full piece is
 * holes, the records that are left in it are written again into the newest piece, and its memory is used again. So about a quarter of the
 * memory is holes at most. A removal copies one piece at most, and seldom.
 */
import { assert, type Found } from "./assert.ts";

/** Octets of a piece. A record that is larger has a piece of its own. */
const usualPiece = 262_144;
/** Records begin at multiples of this. */
const step = 4;
/** The number of addresses in one piece. */
const addressesPerPiece = usualPiece / step;
/** The octets before each record: its row, and its length. */
const headerOctets = 8;
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

  /** Octets of all pieces. */
  get octets(): number {
    let octets = 0;
    for (const piece of this.#pieces) octets += piece?.octets.byteLength ?? 0;
    return octets;
  }

  /** Keeps a copy of the first `length` octets for this row. Returns the address, which is above 0. */
  add(row: number, from: Uint8Array, length: number): number {
    const size = sizeOf(length);
    let piece = this.#pieces[this.#newest];
    if (!piece || piece.end + size > piece.octets.byteLength) piece = this.#begin(size);
    const at = piece.end;
    piece.view.setInt32(at, row);
    piece.view.setInt32(at + 4, length);
    piece.octets.set(from.subarray(0, length), at + headerOctets);
    piece.end += size;
    piece.used += size;
    this.#records++;
    return addressOf(this.#newest, at);
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
    piece.used -= sizeOf(piece.view.getInt32(at + 4));
    this.#records--;
    if (number !== this.#newest && piece.used < piece.end - (piece.end >> 2)) this.#empty(number, piece);
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
    }
    if (records !== this.#records) found(`${records} rows have octets, ${this.#records} are counted`);
  }

  #begin(size: number): Piece {
    const piece = (size <= usualPiece && this.#spare.pop()) || newPiece(Math.max(size, usualPiece));
    piece.end = 0;
    piece.used = 0;
    this.#newest = this.#free.pop() ?? this.#pieces.length;
    this.#pieces[this.#newest] = piece;
    return piece;
  }

  /** Writes what is left in this piece into the newest one. */
  #empty(number: number, piece: Piece): void {
    for (const [row, at] of recordsOf(piece)) {
      this.#records--;
      this.#moved(row, this.add(row, piece.octets.subarray(at + headerOctets), piece.view.getInt32(at + 4)));
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

/** The octets of a record with its header, rounded up to whole steps. */
function sizeOf(length: number): number {
  return Math.ceil((length + headerOctets) / step) * step;
}

function* recordsOf({ view, end }: Piece): IterableIterator<readonly [row: number, at: number, size: number]> {
  for (let at = 0; at < end; ) {
    const size = sizeOf(view.getInt32(at + 4));
    const row = view.getInt32(at);
    if (row !== hole) yield [row, at, size];
    at += size;
  }
}
