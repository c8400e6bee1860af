/** Random numbers that fall the same way for the same seed (mulberry32). */
export function diceOf(seed) {
  let state = Number(seed) >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  /** 0 to below `max`. */
  const int = (max) => Math.floor(random() * max);
  return { random, int };
}
