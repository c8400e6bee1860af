/** The watch over the process in which scripts run, with processes that only pretend, and time that is moved. */
import { describe, expect, test } from "vitest";
import type { ChildCommand } from "../../../src/script/child-words.ts";
import type { Answer, Question } from "../../../src/script/question.ts";
import { ScriptRunner, waitingMax } from "../../../src/script/runner.ts";
import type { Spawned } from "../../../src/watched-child.ts";
import { FakeChild } from "../../helpers/fake-child.ts";
import { ScriptedTimers } from "../../helpers/scripted-central.ts";

class ScriptChild extends FakeChild<ChildCommand> {
  /** The question that was asked last. */
  get asked(): Extract<ChildCommand, { do: "ask" }> {
    const last = this.sent.at(-1);
    if (last?.do !== "ask") throw new Error("nothing was asked");
    return last;
  }

  answers(answer: Answer = made, more: { isOverTime?: boolean } = {}): void {
    this.says({ is: "answered", id: this.asked.id, answer: { ...answer, ...more } });
  }

  isReady(): this {
    this.says({ is: "ready" });
    this.says({ is: "loaded", scripts: [{ file: "a.js", can: ["up"] }] });
    return this;
  }
}

const made: Answer = { is: "made", payload: Uint8Array.of(1), warnings: [] };
const scripts = [{ file: "a.js", text: "" }];

function bench() {
  const timers = new ScriptedTimers();
  const children: ScriptChild[] = [];
  const told: string[] = [];
  const limits = { runMs: 50, memoryBytes: 2 ** 24 };
  const runner = new ScriptRunner(
    limits,
    timers,
    (_level, say) => told.push(say),
    () => {
      const child = new ScriptChild();
      children.push(child);
      return child as unknown as Spawned;
    },
  );
  const child = () => {
    const last = children.at(-1);
    if (!last) throw new Error("no child");
    return last;
  };
  const answers: string[] = [];
  const ask = (name: string, sender = name, octets = 1): Answer | (() => void) => {
    const question: Question = {
      file: "a.js",
      is: "up",
      payload: new Uint8Array(octets),
      fPort: 1,
      recvTime: 0,
      variables: { name },
    };
    return runner.ask(question, sender, (answer) => {
      answers.push(`${name} ${answer.is === "unfit" ? answer.why : answer.is}`);
    });
  };
  const begun = () => {
    void runner.start(scripts);
    child().isReady();
  };
  return { timers, children, told, runner, child, answers, ask, begun };
}

const refused = (why: string) => ({ is: "unfit", why: `a.js was not asked: ${why}` });
const named = (child: ScriptChild) => child.asked.question.variables["name"];

describe("asking", () => {
  test("one question at a time, in order", () => {
    const { child, answers, ask, begun } = bench();
    begun();
    for (const name of ["a", "b", "c"]) expect(ask(name)).toBeTypeOf("function");
    expect(named(child())).toBe("a");
    child().answers();
    expect(named(child())).toBe("b");
    child().answers({ is: "unfit", why: "no" });
    child().answers({ is: "asItIs" });
    expect(answers).toEqual(["a made", "b no", "c asItIs"]);
  });

  test("after 50 ms there is no answer; the process has half a second more for coming back", () => {
    const { timers, child, children, answers, ask, begun } = bench();
    begun();
    ask("a");
    ask("b");
    timers.pass(49);
    expect(answers).toEqual([]);
    timers.pass(1);
    expect(answers).toEqual(["a a.js took more than 50 ms"]);
    timers.pass(400);
    child().answers({ is: "unfit", why: "late" }, { isOverTime: true });
    expect(named(child())).toBe("b");
    child().answers();
    expect(answers).toEqual(["a a.js took more than 50 ms", "b made"]);
    expect(children).toHaveLength(1);
  });

  test("a wish that ended is not answered, and its place is free", () => {
    const { child, answers, ask, begun } = bench();
    begun();
    const [first, second] = [ask("a"), ask("b")];
    ask("c");
    for (const end of [first, second]) if (typeof end === "function") end();
    child().answers();
    expect(named(child())).toBe("c");
    child().answers();
    expect(answers).toEqual(["c made"]);
  });

  test("what waits has limits in questions and octets; beyond, the answer is there at once", () => {
    const { ask, begun, runner } = bench();
    begun();
    for (let i = 0; i <= waitingMax; i++) expect(ask(`n${i}`), String(i)).toBeTypeOf("function"); // one is being asked
    expect(ask("more")).toEqual(refused("too many questions wait for scripts"));
    expect(runner.counters.turnedAway).toBe(1);
    const other = bench();
    other.begun();
    other.ask("first");
    for (let i = 0; i < 32; i++) expect(other.ask(`n${i}`, `n${i}`, 65_535)).toBeTypeOf("function");
    expect(other.ask("more", "more", 65_535)).toEqual(refused("too many questions wait for scripts"));
  });

  test("half a second is the longest that one waits for its turn", () => {
    const { timers, child, answers, ask, begun } = bench();
    begun();
    ask("slow");
    ask("b");
    timers.pass(501);
    child().answers();
    expect(answers).toEqual([
      "slow a.js took more than 50 ms",
      "b a.js was not asked: too many questions wait for scripts",
    ]);
  });

  test("whose payloads use up the time is not asked for, for a pause that grows; others are", () => {
    const { timers, child, ask, begun, runner } = bench();
    begun();
    const usesUp = () => {
      expect(ask("bad")).toBeTypeOf("function");
      child().answers({ is: "unfit", why: "late" }, { isOverTime: true });
    };
    const pauses = () => expect(ask("bad")).toEqual(refused("payloads of this sender have used up its time"));
    usesUp(); // once may be the machine's fault
    usesUp();
    pauses();
    ask("good");
    child().answers();
    timers.pass(1_000);
    usesUp();
    timers.pass(1_999);
    pauses();
    timers.pass(1);
    ask("bad");
    child().answers(); // all right again
    usesUp();
    expect(ask("bad")).toBeTypeOf("function");
    expect(runner.counters).toMatchObject({ overTime: 4, turnedAway: 2 });
  });
});

describe("the process", () => {
  test("one that does not come back is killed; the pause before the next doubles up to a minute", () => {
    const { timers, child, children, answers, ask, begun, told } = bench();
    begun();
    const pauses: number[] = [];
    for (let i = 0; i < 8; i++) {
      ask(`hangs${i}`);
      ask(`behind${i}`);
      timers.pass(550);
      expect(child().signals).toEqual(["SIGKILL"]);
      expect(ask("c")).toEqual(refused("the process for scripts does not run"));
      const before = children.length;
      let ms = 0;
      while (children.length === before) {
        timers.pass(1_000);
        ms += 1_000;
      }
      pauses.push(ms / 1_000);
      child().isReady();
      // The device whose payload made it hang gets no script for a minute.
      if (ms < 60_000) expect(ask(`hangs${i}`)).toEqual(refused("payloads of this sender have used up its time"));
    }
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    expect(answers.slice(0, 2)).toEqual([
      "hangs0 a.js took more than 50 ms",
      "behind0 a.js was not asked: the process for scripts ended",
    ]);
    expect(told[0]).toBe(
      "the process for scripts ended: a.js did not finish. Payloads are forwarded unchanged; the process is started again in 1 s",
    );
    expect(ask("behind7")).toBeTypeOf("function");
  });

  test("one that worked for a minute is replaced without a longer pause", () => {
    const { timers, child, children, begun } = bench();
    begun();
    for (let i = 0; i < 3; i++) {
      timers.pass(60_000);
      child().emit("exit", null, "SIGSEGV");
      timers.pass(1_000);
      expect(children).toHaveLength(i + 2);
      child().isReady();
    }
  });

  test("one that dies answers for all that waits, and so does one that talks nonsense", () => {
    for (const trouble of [
      (child: ScriptChild) => child.emit("exit", 1, null),
      (child: ScriptChild) => child.emit("error", new Error("no memory")),
      (child: ScriptChild) => child.says({ is: "rubbish" }),
      (child: ScriptChild) => child.says({ is: "answered", id: 99, answer: made }),
    ]) {
      const { child, answers, ask, begun } = bench();
      begun();
      ask("a");
      ask("b");
      trouble(child());
      expect(answers).toEqual(["a", "b"].map((name) => `${name} a.js was not asked: the process for scripts ended`));
    }
  });

  test("words of a dead one are not heard", () => {
    const { timers, child, children, answers, ask, begun } = bench();
    begun();
    child().emit("exit", 1, null);
    timers.pass(1_000);
    child().isReady();
    ask("a");
    children[0]?.says({ is: "answered", id: 1, answer: made });
    expect(answers).toEqual([]);
  });

  test("scripts that changed are loaded between two questions, and questions wait for them", () => {
    const { child, answers, ask, begun, runner } = bench();
    begun();
    ask("a");
    ask("b");
    runner.load([{ file: "a.js", text: "new" }]);
    expect(child().sent.at(-1)?.do).toBe("ask");
    child().answers();
    expect(child().sent.at(-1)).toEqual({ do: "load", scripts: [{ file: "a.js", text: "new" }] });
    child().says({ is: "loaded", scripts: [{ file: "a.js", can: ["up", "down"], problem: "a.js:1: no" }] });
    child().answers();
    expect(answers).toEqual(["a made", "b made"]);
    expect(runner.can("a.js", "down")).toBe(true);
  });

  test("the start waits until scripts can be asked, or the process has failed", async () => {
    const { child, runner, timers } = bench();
    const start = runner.start(scripts);
    timers.pass(30_000);
    expect(child().signals).toEqual(["SIGKILL"]);
    await start;
  });

  test("closing answers what waits and ends the process, by force if need be", async () => {
    const { child, answers, ask, begun, runner, timers } = bench();
    begun();
    ask("a");
    const closed = runner.close();
    expect(answers).toEqual(["a a.js was not asked: the gateway ends"]);
    timers.pass(2_000);
    expect(child().signals).toEqual(["SIGTERM", "SIGKILL"]);
    child().emit("exit", null, "SIGKILL");
    await closed;
    timers.pass(120_000);
  });
});
