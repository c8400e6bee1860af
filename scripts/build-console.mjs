/**
 * Puts the console's page together: its sources, Preact and uPlot become one script, one worker and one style sheet in
 * dist/console. Nothing is fetched from elsewhere when the page is open.
 */
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const source = fileURLToPath(new URL("../src/console", import.meta.url));
const outdir = fileURLToPath(new URL("../dist/console", import.meta.url));

rmSync(outdir, { recursive: true, force: true });
mkdirSync(outdir, { recursive: true });
await build({
  entryPoints: {
    console: `${source}/main.tsx`,
    "stream-worker": `${source}/stream-worker.ts`,
    page: `${source}/console.css`,
  },
  outdir,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome110", "firefox110", "safari16"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "eof",
  logLevel: "warning",
});
for (const name of ["index.html", "icon.svg"]) copyFileSync(`${source}/${name}`, `${outdir}/${name}`);
