/** Keys of devices: making, replacing, removing. A key is shown once, after the click that made it. */
import { useState } from "preact/hooks";
import type { OutputOf } from "../runtime/commands.ts";
import { act, ask, tell } from "./ask.ts";
import { useAsked } from "./hooks.ts";
import { Do, Loaded, Name, When } from "./parts.tsx";
import { Qr } from "./qr.tsx";

type Made = OutputOf<"device.add">;
type WithKey = OutputOf<"device.list">[number];

const rotateSure =
  "The old key is not valid any more then, and the device is disconnected until it has the new key. Are you sure?";
const removeSure = "The device is disconnected, and this key is not accepted any more. Are you sure?";

const make = async (path: string, name: string) => (await tell(path, { name })) as Made;

/** Shows the key once. It disappears with the view, or with a click. */
function Once({ made, done }: { readonly made: Made; readonly done: () => void }) {
  return (
    <section class="card key" aria-label={`The key of ${made.name}`}>
      <h2>
        The key of <Name text={made.name} />
      </h2>
      <p>
        <b>It is shown only once.</b> Enter identity and key at the device, or let it read the picture.
      </p>
      <Qr text={made.link} says={`QR code with identity and key of ${made.name}`} />
      <dl class="facts">
        <dt>Identity</dt>
        <dd>
          <code>{made.name}</code>
        </dd>
        <dt>Key</dt>
        <dd>
          <code>{made.key}</code>
        </dd>
        <dt>The text in the picture</dt>
        <dd>
          <code>{made.link}</code>
        </dd>
      </dl>
      <p class="actions">
        <button type="button" onClick={done}>
          The device has it
        </button>
      </p>
    </section>
  );
}

/** All devices with keys, and a field for one more. */
export function Keys() {
  const keys = useAsked(() => ask<"device.list">("device-keys"), []);
  const [name, setName] = useState("");
  const [made, setMade] = useState<Made | undefined>();
  const take = (found: Made) => {
    setMade(found);
    setName("");
    keys.again();
  };
  return (
    <section aria-label="Keys of devices">
      <h2>Devices with a key</h2>
      <p class="quiet">
        Over DTLS a device proves its identity with its key, and no other device can use its name. This needs a
        transport of type dtls.
      </p>
      <div class="bar">
        <label>
          Name of the device{" "}
          <input type="text" value={name} onInput={(event) => setName(event.currentTarget.value.trim())} />
        </label>
        <Do label="Make a key" work={async () => take(await make("device-keys", name))} />
      </div>
      {made && <Once key={made.key} made={made} done={() => setMade(undefined)} />}
      <Loaded asked={keys} what="devices with keys">
        {(all) => (
          <ul class="plain">
            {all.map((each) => (
              <li key={each.name}>
                <OneKey known={each} made={take} changed={keys.again} />
              </li>
            ))}
            {all.length === 0 && <li class="quiet">No device has a key that was made here.</li>}
          </ul>
        )}
      </Loaded>
    </section>
  );
}

/** The key of one device, on its page; nothing if the gateway has made no key for it. */
export function KeyOf({ name }: { readonly name: string }) {
  const keys = useAsked(() => ask<"device.list">("device-keys"), [name]);
  const [made, setMade] = useState<Made | undefined>();
  const known = keys.data?.find((each) => each.name === name);
  const take = (found: Made) => {
    setMade(found);
    keys.again();
  };
  if (!known && !made) return null;
  return (
    <section aria-label="Its key">
      <h2>Its key</h2>
      {known && (
        <p>
          <OneKey known={known} made={take} changed={keys.again} />
        </p>
      )}
      {made && <Once key={made.key} made={made} done={() => setMade(undefined)} />}
    </section>
  );
}

function OneKey(props: { readonly known: WithKey; readonly made: (made: Made) => void; readonly changed: () => void }) {
  const { name, added } = props.known;
  return (
    <>
      <Name text={name} />{" "}
      <span class="quiet">
        has a key since <When at={Date.parse(added)} />
      </span>{" "}
      <Do
        label={`Give ${name} another key`}
        sure={rotateSure}
        work={async () => props.made(await make("device-keys/rotate", name))}
      />{" "}
      <Do
        label={`Take the key of ${name} away`}
        sure={removeSure}
        work={() => act("DELETE", "device-keys", { name })}
        done={props.changed}
      />
    </>
  );
}
