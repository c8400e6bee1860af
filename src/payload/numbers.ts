/** Numbers in octets: of 8 to 64 bits, with and without sign, with either octet first, and floating point. [IEEE 754] */

const big = ["u8", "i8", "u16", "i16", "u24", "i24", "u32", "i32", "u64", "i64", "f32", "f64"] as const;
const little = ["u16le", "i16le", "u24le", "i24le", "u32le", "i32le", "u64le", "i64le", "f32le", "f64le"] as const;

/** `le`: the low octet first; without it, the high octet first, as in MQTT-SN itself. */
export const numberTypes = [...big, ...little] as const;
export type NumberType = (typeof numberTypes)[number];

export interface NumberFormat {
  readonly bytes: number;
  readonly isFloat: boolean;
  /** The range of whole numbers that can be written exactly. Of 64 bits no more than 53 are exact. */
  readonly min: number;
  readonly max: number;
  readonly get: (view: DataView, at: number) => number;
  readonly set: (view: DataView, at: number, value: number) => void;
}

export function numberFormat(type: NumberType): NumberFormat {
  const isLittle = type.endsWith("le");
  const bits = Number(/\d+/.exec(type)?.[0]);
  const bytes = bits / 8;
  if (type.startsWith("f")) return { bytes, isFloat: true, ...float(bits, isLittle), min: -Infinity, max: Infinity };
  const isSigned = type.startsWith("i");
  const exact = Math.min(bits, 53);
  const max = isSigned && bits <= 53 ? 2 ** (bits - 1) - 1 : 2 ** exact - 1;
  const min = isSigned ? (bits <= 53 ? -(2 ** (bits - 1)) : -(2 ** 53 - 1)) : 0;
  return { bytes, isFloat: false, min, max, ...whole(bits, isSigned, isLittle) };
}

type Access = Pick<NumberFormat, "get" | "set">;

function float(bits: number, isLittle: boolean): Access {
  if (bits === 32)
    return {
      // A float of 32 bits has seven significant digits, so more are not published.
      get: (view, at) => Number(view.getFloat32(at, isLittle).toPrecision(7)),
      set: (view, at, value) => view.setFloat32(at, value, isLittle),
    };
  return {
    get: (view, at) => view.getFloat64(at, isLittle),
    set: (view, at, value) => view.setFloat64(at, value, isLittle),
  };
}

function whole(bits: number, isSigned: boolean, isLittle: boolean): Access {
  switch (bits) {
    case 8:
      return {
        get: (view, at) => (isSigned ? view.getInt8(at) : view.getUint8(at)),
        set: (view, at, value) => (isSigned ? view.setInt8(at, value) : view.setUint8(at, value)),
      };
    case 16:
      return {
        get: (view, at) => (isSigned ? view.getInt16(at, isLittle) : view.getUint16(at, isLittle)),
        set: (view, at, value) => (isSigned ? view.setInt16(at, value, isLittle) : view.setUint16(at, value, isLittle)),
      };
    case 24:
      return threeOctets(isSigned, isLittle);
    case 32:
      return {
        get: (view, at) => (isSigned ? view.getInt32(at, isLittle) : view.getUint32(at, isLittle)),
        set: (view, at, value) => (isSigned ? view.setInt32(at, value, isLittle) : view.setUint32(at, value, isLittle)),
      };
    default:
      return {
        get: (view, at) => Number(isSigned ? view.getBigInt64(at, isLittle) : view.getBigUint64(at, isLittle)),
        set: (view, at, value) =>
          isSigned ? view.setBigInt64(at, BigInt(value), isLittle) : view.setBigUint64(at, BigInt(value), isLittle),
      };
  }
}

function threeOctets(isSigned: boolean, isLittle: boolean): Access {
  return {
    get: (view, at) => {
      const high = view.getUint8(isLittle ? at + 2 : at);
      const low = view.getUint8(isLittle ? at : at + 2);
      const value = (high << 16) | (view.getUint8(at + 1) << 8) | low;
      return isSigned && value >= 0x80_0000 ? value - 0x100_0000 : value;
    },
    set: (view, at, value) => {
      view.setUint8(isLittle ? at + 2 : at, (value >> 16) & 0xff);
      view.setUint8(at + 1, (value >> 8) & 0xff);
      view.setUint8(isLittle ? at : at + 2, value & 0xff);
    },
  };
}
