/** Records what a process does to the files below a folder, in the order in which it does it, by strace. */
import { spawn } from "node:child_process";
import { createReadStream, rmSync } from "node:fs";
import { createInterface } from "node:readline";

/** One thing that happened. File descriptors are the process's; names are relative to the recorded folder. */
export type Happening =
  | { readonly what: "open"; readonly fd: number; readonly name: string; readonly truncate: boolean }
  | { readonly what: "openFolder"; readonly fd: number; readonly name: string }
  | { readonly what: "write"; readonly fd: number; readonly data: Buffer; readonly at: number | undefined }
  | { readonly what: "truncate"; readonly fd: number; readonly bytes: number }
  | { readonly what: "syncBegins" | "syncEnds"; readonly fd: number; readonly id: number }
  | { readonly what: "makeFolder" | "remove"; readonly name: string }
  | { readonly what: "rename"; readonly name: string; readonly to: string }
  /** A file gets a second name. */
  | { readonly what: "link"; readonly name: string; readonly to: string }
  | { readonly what: "acknowledged"; readonly commit: number }
  /** A process ended: its descriptors are closed, its writes remain. */
  | { readonly what: "end" };

const calls = [
  "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,rename,renameat,renameat2",
  "unlink,unlinkat,mkdir,mkdirat,ftruncate,truncate,rmdir,link,linkat,symlink,fallocate,copy_file_range,sendfile",
].join(",");

/** Runs a program under strace and answers what it did below `folder`; `said` takes its standard error. */
export async function record(
  strace: { readonly path: string; readonly libraries: string },
  folder: string,
  command: readonly string[],
  said: (text: string) => void,
): Promise<Happening[]> {
  const trace = `${folder}.trace`;
  const options = ["-f", "-y", "-qq", "-xx", "-s", "100000000", "-e", `trace=${calls}`, "-o", trace];
  const running = spawn(strace.path, [...options, ...command], {
    stdio: ["ignore", "ignore", "pipe"],
    // Without io_uring all that is written is a call that can be seen.
    env: {
      ...process.env,
      UV_USE_IO_URING: "0",
      ...(strace.libraries !== "" && { LD_LIBRARY_PATH: strace.libraries }),
    },
  });
  running.stderr.on("data", (text) => said(String(text)));
  await new Promise((done) => running.once("close", done));
  const reader = new TraceReader(folder);
  for await (const line of createInterface({ input: createReadStream(trace, "latin1") })) reader.line(line);
  rmSync(trace);
  reader.happenings.push({ what: "end" });
  return reader.happenings;
}

class TraceReader {
  readonly happenings: Happening[] = [];
  readonly #folder: string;
  /** Calls that another thread's lines interrupt, by thread. */
  readonly #unfinished = new Map<string, { readonly text: string; readonly syncId: number }>();
  #syncs = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  line(line: string): void {
    const [, thread = "", rest = ""] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    if (resumed) {
      const begun = this.#unfinished.get(thread);
      this.#unfinished.delete(thread);
      if (begun) this.#ends(begun.text + (resumed[1] ?? ""), begun.syncId);
      return;
    }
    if (rest.endsWith("<unfinished ...>")) {
      const text = rest.slice(0, -"<unfinished ...>".length).trimEnd();
      this.#unfinished.set(thread, { text, syncId: this.#begins(text) });
    } else if (/^\w+\(/.test(rest)) this.#ends(rest, this.#begins(rest));
  }

  /** What counts from the moment of the call: an acknowledgement, and which writes a sync covers. */
  #begins(text: string): number {
    const { name, fd, path } = partsOf(text);
    if (name === "write" && fd === 1 && !this.#isOurs(path)) {
      for (const [, n] of dataOf(text)
        .toString()
        .matchAll(/^ack (\d+)$/gm))
        this.happenings.push({ what: "acknowledged", commit: Number(n) });
    }
    if (!/^f(data)?sync$/.test(name) || !this.#isOurs(path)) return 0;
    this.happenings.push({ what: "syncBegins", fd, id: ++this.#syncs });
    return this.#syncs;
  }

  #ends(text: string, syncId: number): void {
    const { name, fd, path, result } = partsOf(text);
    if (result < 0) return;
    const [first = "", second = ""] = namesOf(text).map((each) => this.#relative(each));
    switch (name) {
      case "openat":
      case "open": {
        if (first === outside) return;
        if (/O_DIRECTORY/.test(text) || !/O_(WRONLY|RDWR)/.test(text))
          this.happenings.push({ what: "openFolder", fd: result, name: first });
        else this.happenings.push({ what: "open", fd: result, name: first, truncate: /O_TRUNC/.test(text) });
        return;
      }
      case "write":
      case "pwrite64": {
        if (!this.#isOurs(path)) return;
        const at = name === "pwrite64" ? Number(/, (\d+)\)\s+=/.exec(text)?.[1]) : undefined;
        this.happenings.push({ what: "write", fd, data: dataOf(text).subarray(0, result), at });
        return;
      }
      case "ftruncate":
        if (!this.#isOurs(path)) return;
        this.happenings.push({ what: "truncate", fd, bytes: Number(/, (\d+)\)\s+=/.exec(text)?.[1]) });
        return;
      case "fsync":
      case "fdatasync":
        if (syncId > 0) this.happenings.push({ what: "syncEnds", fd, id: syncId });
        return;
      case "mkdir":
        if (first !== outside) this.happenings.push({ what: "makeFolder", name: first });
        return;
      case "unlink":
        if (first !== outside) this.happenings.push({ what: "remove", name: first });
        return;
      case "rename":
        if (first !== outside) this.happenings.push({ what: "rename", name: first, to: second });
        return;
      case "link":
        if (first !== outside) this.happenings.push({ what: "link", name: first, to: second });
        return;
      case "copy_file_range":
      case "sendfile":
        return; // a damaged store copied aside: nothing depends on the copy
      default:
        // A recording that leaves something out would prove nothing.
        if (first !== outside || this.#isOurs(path))
          throw new Error(`the recording does not know ${text.slice(0, 200)}`);
    }
  }

  #isOurs(path: string): boolean {
    return path === this.#folder || path.startsWith(`${this.#folder}/`);
  }

  #relative(path: string): string {
    if (path === this.#folder) return "";
    return this.#isOurs(path) ? path.slice(this.#folder.length + 1) : outside;
  }
}

/** Stands for a path that is not recorded. */
const outside = "\0";

function partsOf(text: string): { name: string; fd: number; path: string; result: number } {
  const name = text.slice(0, text.indexOf("("));
  const [, fd = "-1", path = ""] = /^\w+\((\d+)<([^>]*)>/.exec(text.slice(0, 20_000)) ?? [];
  const [, result = "-1"] = /\)\s+= (-?\d+)/.exec(text.slice(-2_000)) ?? [];
  return { name, fd: Number(fd), path: unescaped(path).toString(), result: Number(result) };
}

function namesOf(text: string): string[] {
  if (/^p?write/.test(text)) return [];
  return [...text.matchAll(/"([^"]*)"/g)].map(([, name = ""]) => unescaped(name).toString());
}

function dataOf(text: string): Buffer {
  const from = text.indexOf('"');
  return unescaped(text.slice(from + 1, text.indexOf('"', from + 1)));
}

function unescaped(text: string): Buffer {
  return text.startsWith("\\x") ? Buffer.from(text.replaceAll("\\x", ""), "hex") : Buffer.from(text, "latin1");
}
