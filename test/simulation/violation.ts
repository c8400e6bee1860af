/** Something that must hold does not: it ends the run, with the seed that replays it. */
export class Violation extends Error {}
