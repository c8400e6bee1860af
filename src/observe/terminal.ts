/**
 * Cleans text that others chose (client ids, topic names, names of Bluetooth devices) before it is written to a
 * terminal. On a terminal, control characters could move the cursor, change the title or hide text, and marks of
 * direction could reverse text.
 */

/** C0 but tab and end of line, DEL, C1 (U+009B begins a sequence as ESC [ does), separators, marks and embeddings of direction. */
const unsafe = /(?![\t\n])[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** Makes a text safe to show. Each such character is escaped as in JSON, so a JSON text stays valid. */
export function shown(text: string): string {
  return text.replace(unsafe, escaped);
}

/** For a line of JSON whose strings another program will decode and show. Escapes of JSON are escaped once more. */
export function shownWhenRead(line: string): string {
  return line.replace(escapes, (all, what: string) => (/["\\/]/.test(what) ? all : `\\${all}`)).replace(unsafe, twice);
}

const escapes = /\\(u00[0-9a-f]{2}|.)/gi;

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function twice(character: string): string {
  return `\\${escaped(character)}`;
}
