import { describe, expect, test } from "vitest";
import { type Answer, PasswordCommand } from "../../../src/upstream/password-command.ts";

const node = process.execPath;

function asking(script: string, limits: { timeoutSeconds?: number; cacheSeconds?: number } = {}, words: string[] = []) {
  let now = 0;
  const command = new PasswordCommand(
    [node, "-e", script, ...words],
    { timeoutSeconds: 10, cacheSeconds: 60, ...limits },
    () => now,
  );
  const ask = () => new Promise<Answer>((done) => command.ask(done));
  const told = async () => {
    const answer = await ask();
    return "failed" in answer ? `failed: ${answer.failed}` : answer.password.toString("latin1");
  };
  const pass = (seconds: number) => {
    now += seconds * 1_000;
  };
  return { command, told, pass };
}

/** Prints another password each time. */
const token = "process.stdout.write(String(process.hrtime.bigint()))";

describe("a password from a command", () => {
  test("is what it says on standard output, without the last line end", async () => {
    expect(await asking("console.log('s3 cret')").told()).toBe("s3 cret");
    expect(await asking("process.stdout.write('a\\n\\r\\n')").told()).toBe("a\n");
    expect(await asking("process.stdout.write(Buffer.from([0xff, 0x00]))").told()).toBe("\u00ff\u0000");
  });

  test("no shell reads its words", async () => {
    expect(await asking("console.log(process.argv[1])", {}, ["$(id); `id` *"]).told()).toBe("$(id); `id` *");
  });

  test("is asked once for all who wait, and again when its time is over", async () => {
    const { told, pass } = asking(token);
    const [first, second] = await Promise.all([told(), told()]);
    expect(second).toBe(first);
    pass(59);
    expect(await told()).toBe(first);
    pass(1);
    expect(await told()).not.toBe(first);
  });

  test("with no time to keep it, each connection asks", async () => {
    const { told } = asking(token, { cacheSeconds: 0 });
    expect(await told()).not.toBe(await told());
  });

  test("one that was refused is not used again, and not asked for more than once a second", async () => {
    const { command, told, pass } = asking(token);
    const first = await told();
    command.forget();
    expect(await told()).toBe(first);
    pass(1);
    command.forget();
    expect(await told()).not.toBe(first);
  });

  test.each([
    ["process.stderr.write('hush'); process.exit(3)", {}, "the password command ended with code 3"],
    [
      "console.log('hush'); setInterval(() => {}, 1000)",
      { timeoutSeconds: 0.5 },
      "the password command did not end within 0.5 s",
    ],
    ["process.stdout.write('hush'.repeat(100000))", {}, "the password command printed more than 65535 octets"],
    ["console.log('')", {}, "the password command printed nothing"],
  ])("%s: why it failed is said, and nothing of what it said", async (script, limits, say) => {
    expect(await asking(script, limits).told()).toBe(`failed: ${say}`);
  });

  test("a failure is not kept", async () => {
    const command = new PasswordCommand(["/nowhere/at-all"], { timeoutSeconds: 1, cacheSeconds: 60 });
    for (let i = 0; i < 2; i++) {
      const answer = await new Promise<Answer>((done) => command.ask(done));
      expect(answer).toEqual({ failed: "the password command cannot be started (ENOENT)" });
    }
  });

  test("a program that does not read what it is given does no harm", async () => {
    expect(await asking("process.stdin.destroy(); console.log('x')").told()).toBe("x");
  });
});
