/** The part of a store that a transport with encrypted devices needs. Its records have the transport's name. */
import type { Change } from "../core/record.ts";
import type { Store } from "./store.ts";

export interface SecureKeeper {
  /**
   * Keeps all changes or none, in the order of the calls. `done` is called with true if they are as durable as
   * configured.
   */
  keep(
    changes: readonly { readonly identity: string; readonly record: Uint8Array | undefined }[],
    done: (ok: boolean) => void,
  ): void;
  /** What an earlier run has kept. @throws {GatewayError} ERR_STORE_OPEN */
  kept(): Promise<readonly Uint8Array[]>;
}

/** Records that are read at once. */
const slice = 1_000;

export function secureKeeper(
  transport: string,
  store: Pick<Store, "secure">,
  commit: (changes: readonly Change[], done: (error: Error | undefined) => void) => void,
): SecureKeeper {
  const prefix = `${transport}/`;
  return {
    keep(changes, done) {
      const named = changes.map(({ identity, record }) => {
        const state = record && { state: record };
        return { of: "secure", clientId: prefix + identity, id: 0, record: state } as const;
      });
      commit(named, (error) => done(error === undefined));
    },
    async kept() {
      const records: Uint8Array[] = [];
      let after: string | undefined;
      for (;;) {
        const found = await store.secure(after, slice);
        for (const { name, state } of found) if (name.startsWith(prefix)) records.push(state);
        if (found.length < slice) return records;
        after = found.at(-1)?.name;
      }
    },
  };
}
