/**
 * A disk under a file system that promises no more than POSIX: what was written to a file is certain after a sync of
 * that file, a name after a sync of its folder. When the power fails, each of the rest may be there or not, file by file.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Happening } from "./recording.ts";
import { dice } from "./workload.mjs";

type Write = { readonly at: number; readonly data: Buffer } | { readonly bytes: number };

class File {
  durable: Buffer = Buffer.alloc(0);
  pending: Write[] = [];
  /** Pending writes that a sync in progress covers, by the sync's number. */
  readonly syncs = new Map<number, number>();
}

type Name =
  | { readonly add: string; readonly node: File | Folder }
  | { readonly remove: string }
  | { readonly rename: string; readonly to: string; readonly node: File | Folder };

class Folder {
  durable = new Map<string, File | Folder>();
  pending: Name[] = [];
  readonly syncs = new Map<number, number>();
}

/** How the power cut treats what was not synced. */
export const cruelties = ["all lost", "all there", "cut", "torn", "grown", "names torn"] as const;
export type Cruelty = (typeof cruelties)[number];

export class DiskModel {
  #root = new Folder();
  #descriptors = new Map<number, { readonly node: File | Folder; offset: number }>();

  /** Copies a folder from the real disk, all of it durable. */
  static from(place: string): DiskModel {
    const model = new DiskModel();
    const read = (at: string, folder: Folder) => {
      for (const entry of readdirSync(at, { withFileTypes: true })) {
        const node = entry.isDirectory() ? new Folder() : new File();
        if (node instanceof Folder) read(join(at, entry.name), node);
        else node.durable = readFileSync(join(at, entry.name));
        folder.durable.set(entry.name, node);
      }
    };
    read(place, model.#root);
    return model;
  }

  apply(happening: Happening): void {
    switch (happening.what) {
      case "open":
        return this.#openFile(happening.fd, happening.name, happening.truncate);
      case "openFolder": {
        const node = happening.name === "" ? this.#root : this.#find(happening.name);
        if (node) this.#descriptors.set(happening.fd, { node, offset: 0 });
        return;
      }
      case "write": {
        const open = this.#file(happening.fd);
        const at = happening.at ?? open.offset;
        open.file.pending.push({ at, data: happening.data });
        if (happening.at === undefined)
          this.#descriptors.set(happening.fd, { node: open.file, offset: at + happening.data.length });
        return;
      }
      case "truncate":
        this.#file(happening.fd).file.pending.push({ bytes: happening.bytes });
        return;
      case "syncBegins": {
        const node = this.#descriptors.get(happening.fd)?.node;
        node?.syncs.set(happening.id, node.pending.length);
        return;
      }
      case "syncEnds":
        return this.#synced(happening.fd, happening.id);
      case "makeFolder":
        return this.#name(happening.name, (name) => ({ add: name, node: new Folder() }));
      case "remove":
        return this.#name(happening.name, (name) => ({ remove: name }));
      case "rename": {
        const node = this.#find(happening.name);
        if (!node) throw new Error(`renamed, but not there: ${happening.name}`);
        const to = happening.to.slice(happening.to.lastIndexOf("/") + 1);
        return this.#name(happening.name, (name) => ({ rename: name, to, node }));
      }
      case "link": {
        const node = this.#find(happening.name);
        if (!node) throw new Error(`a second name for what is not there: ${happening.name}`);
        return this.#name(happening.to, (name) => ({ add: name, node }));
      }
      case "end":
        this.#descriptors.clear();
        return;
      case "acknowledged":
        return;
    }
  }

  /** Writes the disk as the power cut left it to an empty folder; the same for the same seed. */
  writeTo(place: string, cruelty: Cruelty, seed: number): void {
    const roll = dice(seed);
    const write = (folder: Folder, at: string) => {
      mkdirSync(at, { recursive: true });
      for (const [name, node] of namesAfterCut(folder, cruelty, roll)) {
        if (node instanceof Folder) write(node, join(at, name));
        else writeFileSync(join(at, name), contentAfterCut(node, cruelty, roll));
      }
    };
    write(this.#root, place);
  }

  #openFile(fd: number, name: string, truncate: boolean): void {
    let node = this.#find(name);
    if (!node) {
      const made = new File();
      this.#name(name, (last) => ({ add: last, node: made }));
      node = made;
    } else if (truncate && node instanceof File) node.pending.push({ bytes: 0 });
    this.#descriptors.set(fd, { node, offset: 0 });
  }

  #synced(fd: number, id: number): void {
    const node = this.#descriptors.get(fd)?.node;
    const covered = node?.syncs.get(id) ?? 0;
    if (!node) return;
    node.syncs.delete(id);
    for (const [other, count] of node.syncs) node.syncs.set(other, Math.max(0, count - covered));
    if (node instanceof File) node.durable = applied(node.durable, node.pending.splice(0, covered));
    else node.durable = named(node.durable, node.pending.splice(0, covered));
  }

  #file(fd: number): { file: File; offset: number } {
    const open = this.#descriptors.get(fd);
    if (!(open?.node instanceof File)) throw new Error(`written to, but not open: ${fd}`);
    return { file: open.node, offset: open.offset };
  }

  /** A name as the process sees it: with everything pending. */
  #find(path: string): File | Folder | undefined {
    let node: File | Folder | undefined = this.#root;
    for (const part of path.split("/")) {
      if (!(node instanceof Folder)) return undefined;
      node = named(node.durable, node.pending).get(part);
    }
    return node;
  }

  #name(path: string, make: (last: string) => Name): void {
    const at = path.lastIndexOf("/");
    const folder = at < 0 ? this.#root : this.#find(path.slice(0, at));
    if (!(folder instanceof Folder)) throw new Error(`no folder for ${path}`);
    folder.pending.push(make(path.slice(at + 1)));
  }
}

function named(before: ReadonlyMap<string, File | Folder>, changes: readonly Name[]): Map<string, File | Folder> {
  const names = new Map(before);
  for (const change of changes) {
    if ("add" in change) names.set(change.add, change.node);
    else if ("remove" in change) names.delete(change.remove);
    else {
      if (names.get(change.rename) === change.node) names.delete(change.rename);
      names.set(change.to, change.node);
    }
  }
  return names;
}

function applied(before: Buffer, writes: readonly Write[]): Buffer {
  let bytes = before.length;
  let most = bytes;
  for (const write of writes) {
    bytes = "bytes" in write ? write.bytes : Math.max(bytes, write.at + write.data.length);
    most = Math.max(most, bytes);
  }
  const content = Buffer.alloc(most);
  before.copy(content);
  for (const write of writes) {
    if ("bytes" in write) content.fill(0, write.bytes);
    else write.data.copy(content, write.at);
  }
  return content.subarray(0, bytes);
}

type Roll = (limit: number) => number;

function namesAfterCut(folder: Folder, cruelty: Cruelty, roll: Roll): Map<string, File | Folder> {
  const { pending } = folder;
  switch (cruelty) {
    case "all lost":
      return named(folder.durable, []);
    case "all there":
    case "grown":
      return named(folder.durable, pending);
    case "cut":
    case "torn": // as a journal keeps them: up to a point
      return named(folder.durable, pending.slice(0, roll(pending.length + 1)));
    case "names torn":
      return named(
        folder.durable,
        pending.filter(() => roll(2) === 0),
      );
  }
}

/** A disk writes this much at once. */
const sectorBytes = 512;

function contentAfterCut(file: File, cruelty: Cruelty, roll: Roll): Buffer {
  const { durable, pending } = file;
  if (pending.length === 0 || cruelty === "all lost") return durable;
  const full = applied(durable, pending);
  if (cruelty === "all there") return full;
  if (pending.some((write) => "bytes" in write)) return applied(durable, pending.slice(0, roll(pending.length + 1)));
  if (cruelty === "grown")
    return Buffer.concat([full.subarray(0, durable.length), Buffer.alloc(full.length - durable.length)]);
  const cut = Buffer.from(full.subarray(0, durable.length + roll(full.length - durable.length + 1)));
  if (cruelty === "cut") return cut;
  // Sectors of what was not synced reach the disk in any order, or half.
  for (let at = Math.ceil(durable.length / sectorBytes) * sectorBytes; at < cut.length; at += sectorBytes) {
    const fate = roll(8);
    const end = Math.min(at + sectorBytes, cut.length);
    if (fate === 0) cut.fill(0, at, end);
    if (fate === 1) cut.fill(roll(256), at + roll(end - at), end);
  }
  return cut;
}
